//! What is done with the mean of a round's vectors: the outer step.

/// Moves the parameters by the mean of what all peers gave.
pub trait Outer {
    /// One step, in place. `clock` are the tokens before the round.
    ///
    /// # Shapes
    /// `parameters`, `mean`: `[parameters]`.
    fn step(&mut self, clock: u64, parameters: &mut [f32], mean: &[f32]);
}

/// parameters − rate · mean: the outer step of local SGD, and of SparseLoCo with rate 1.
#[derive(Debug, Clone, Copy)]
pub struct Subtract {
    /// How much of the mean counts.
    pub rate: f32,
}

impl Outer for Subtract {
    fn step(&mut self, _: u64, parameters: &mut [f32], mean: &[f32]) {
        parameters.iter_mut().zip(mean).for_each(|(parameter, mean)| *parameter -= self.rate * mean);
    }
}

/// Nesterov momentum on the mean: the outer step of DiLoCo (arXiv 2311.08105, algorithm 1; 0.7 and 0.9 there).
#[derive(Debug, Clone)]
pub struct Nesterov {
    rate: f32,
    momentum: f32,
    velocity: Vec<f32>,
}

impl Nesterov {
    /// At rest, with this learning rate and decay of the velocity.
    pub fn new(rate: f32, momentum: f32) -> Self {
        Self { rate, momentum, velocity: Vec::new() }
    }
}

impl Outer for Nesterov {
    fn step(&mut self, _: u64, parameters: &mut [f32], mean: &[f32]) {
        self.velocity.resize(parameters.len(), 0.0);
        for ((parameter, velocity), mean) in parameters.iter_mut().zip(&mut self.velocity).zip(mean) {
            *velocity = self.momentum * *velocity + mean;
            *parameter -= self.rate * (mean + self.momentum * *velocity);
        }
    }
}

/// parameters − rate(clock) · sign(mean), with decay: the outer step of DeMo (arXiv 2411.19870).
pub struct Sign {
    rate: Box<dyn Fn(u64) -> f32 + Send>,
    decay: f32,
}

impl Sign {
    /// With this learning rate as a function of the token clock. Each step takes `rate · decay` of every parameter away.
    pub fn new(rate: Box<dyn Fn(u64) -> f32 + Send>, decay: f32) -> Self {
        Self { rate, decay }
    }
}

impl Outer for Sign {
    fn step(&mut self, clock: u64, parameters: &mut [f32], mean: &[f32]) {
        let rate = (self.rate)(clock);
        for (parameter, mean) in parameters.iter_mut().zip(mean) {
            let direction = if *mean == 0.0 { 0.0 } else { mean.signum() };
            *parameter -= rate * (direction + self.decay * *parameter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesterov_looks_ahead() {
        let mut outer = Nesterov::new(0.5, 0.5);
        let mut parameters = [0.0];
        outer.step(0, &mut parameters, &[1.0]);
        assert_eq!(parameters, [-0.75], "rate · (1 + momentum · 1)");
        outer.step(0, &mut parameters, &[0.0]);
        assert_eq!(parameters, [-0.875], "half of the velocity, looked ahead by half");
    }

    #[test]
    fn a_sign_has_one_size_and_nothing_is_no_direction() {
        let mut outer = Sign::new(Box::new(|clock| if clock == 0 { 0.5 } else { 0.25 }), 0.0);
        let mut parameters = [0.0, 0.0, 0.0];
        outer.step(0, &mut parameters, &[1e-9, -7.0, 0.0]);
        assert_eq!(parameters, [-0.5, 0.5, 0.0]);
        outer.step(9, &mut parameters, &[1.0, 1.0, 0.0]);
        assert_eq!(parameters, [-0.75, 0.25, 0.0]);
    }
}
