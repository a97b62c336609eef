//! Living together: who is there, who is gone, whom to be connected with. In the order of a member's life.

mod hostile;
mod large;
mod life;
mod net;
mod training;
mod twins;
