//! Membership: members join, are suspected and removed, and neighbours are chosen. In the order of a member's life.

mod hostile;
mod large;
mod life;
mod net;
mod training;
mod twins;
