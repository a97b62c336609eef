//! Slots: how many connections a transport may hold, half-open ones included, in all and from one address.

use std::{collections::BTreeMap, net::IpAddr};

use crate::error::Refusal;

/// The slots that are taken.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    taken: usize,
    taken_by_ip: BTreeMap<IpAddr, usize>,
}

impl Slots {
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// Takes a slot for a dial; the caller has checked that one is free.
    pub(crate) fn take(&mut self) {
        self.taken += 1;
    }

    /// Takes a slot for an incoming connection from `ip`.
    ///
    /// # Errors
    ///
    /// `max` are taken, or `per_ip_max` of that address; nothing changes.
    pub(crate) fn take_from(&mut self, ip: IpAddr, max: usize, per_ip_max: usize) -> Result<(), Refusal> {
        if self.taken >= max {
            return Err(Refusal::Full);
        }
        let of_ip = self.taken_by_ip.entry(ip).or_insert(0);
        if *of_ip >= per_ip_max {
            return Err(Refusal::FullForAddress);
        }
        *of_ip += 1;
        self.taken += 1;
        Ok(())
    }

    /// Frees a slot; `ip` is the address for which it was taken, or `None` for a dial.
    pub(crate) fn free(&mut self, ip: Option<IpAddr>) {
        self.taken -= 1;
        let Some(ip) = ip else { return };
        let of_ip = self.taken_by_ip.get_mut(&ip).expect("a slot is freed once, and only after it was taken");
        *of_ip -= 1;
        if *of_ip == 0 {
            self.taken_by_ip.remove(&ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_counted_in_all_and_per_address_and_freed() {
        let mut slots = Slots::default();
        let [home, away, third] = [1, 2, 3].map(|n| IpAddr::from([127, 0, 0, n]));
        assert_eq!(slots.take_from(home, 2, 1), Ok(()));
        assert_eq!(slots.take_from(home, 2, 1), Err(Refusal::FullForAddress));
        assert_eq!(slots.take_from(away, 2, 1), Ok(()));
        assert_eq!(slots.take_from(third, 2, 1), Err(Refusal::Full));
        slots.free(Some(home));
        slots.take(); // by a dial, of no address
        assert_eq!(slots.take_from(home, 2, 1), Err(Refusal::Full));
        slots.free(Some(away));
        slots.free(None);
        assert_eq!((slots.taken(), slots.taken_by_ip.len()), (0, 0));
    }
}
