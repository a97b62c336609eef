//! Whole swarms of real nodes on a simulated network: one seed, one outcome.

mod appended;
mod disk;
mod evicted;
mod fading;
mod fast;
mod finality;
mod hostile;
mod life;
mod long;
mod net;
mod overdue;
mod silent;
