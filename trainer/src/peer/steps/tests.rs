//! The choice of steps on links and in swarms that are fast and slow.

use super::*;

const AUTO: Allowed = Allowed { least: 5, most: 100, density: (256, 256), epoch_tokens: 200_000 };

/// The default run on two cores: four peers, steps of 80 ms.
const LOOPBACK: Measured = Measured { step_seconds: 0.08, link_seconds: 0.01, swarm_tokens_per_second: 12_800.0 };

fn settled(allowed: Allowed, measured: Measured) -> (u32, StepsReason) {
    let last = (0..20).fold(Choice::first(allowed), |choice, _| choice.next(allowed, measured));
    (last.steps, last.reason)
}

#[test]
fn a_link_that_keeps_up_leaves_segments_as_short_as_is_best() {
    assert_eq!(settled(AUTO, LOOPBACK), (5, StepsReason::LinkIsFast));
    let busy = Measured { link_seconds: 0.4, ..LOOPBACK };
    assert_eq!(settled(AUTO, busy), (5, StepsReason::LinkIsFast), "as long as five steps");
}

#[test]
fn on_a_slower_link_a_segment_computes_as_long_as_its_bytes_take() {
    for (link_seconds, steps) in [(0.41, 6), (0.8, 10), (3.99, 50), (60.0, 97)] {
        let chosen = settled(AUTO, Measured { link_seconds, ..LOOPBACK });
        let reason = if steps == 97 { StepsReason::Swarm } else { StepsReason::Link };
        assert_eq!(chosen, (steps, reason), "{link_seconds}");
    }
    let alone = Allowed { epoch_tokens: 0, ..AUTO };
    assert_eq!(
        settled(alone, Measured { link_seconds: 60.0, ..LOOPBACK }),
        (100, StepsReason::Link),
        "the most there are"
    );
}

#[test]
fn a_number_that_is_set_stays_whatever_the_link_does() {
    let set = Allowed { least: 8, most: 8, ..AUTO };
    for link_seconds in [0.0, 1.0, 1e9] {
        assert_eq!(settled(set, Measured { link_seconds, ..LOOPBACK }), (8, StepsReason::Set));
    }
}

#[test]
fn a_peer_far_slower_than_the_swarm_makes_shorter_segments_set_or_not() {
    // The swarm's half epoch lasts 7.8 s.
    let slow = |step_seconds| Measured { step_seconds, ..LOOPBACK };
    for allowed in [AUTO, Allowed { least: 20, most: 20, ..AUTO }] {
        assert_eq!(settled(allowed, slow(3.0)), (2, StepsReason::Swarm));
        assert_eq!(settled(allowed, slow(100.0)), (1, StepsReason::Swarm), "never none");
    }
}

#[test]
fn it_changes_by_half_or_double_and_not_for_noise() {
    let on = |choice: Choice, steps: f64| choice.next(AUTO, Measured { link_seconds: steps * 0.08, ..LOOPBACK });
    let risen = on(Choice::first(AUTO), 40.0);
    assert_eq!(risen.steps, 10);
    let risen = on(on(risen, 16.0), 15.5);
    assert_eq!(risen.steps, 16);
    assert_eq!(on(risen, 12.5).steps, 16, "not far enough below");
    assert_eq!(on(risen, 11.5).steps, 12);
    assert_eq!(on(risen, 0.1).steps, 8);
}

/// Where `need` steps compute as long as the bytes of an update of density 256 take, until nothing changes.
fn density_where(need: f64) -> (u16, u32, StepsReason) {
    let auto = Allowed { density: (64, 4096), ..AUTO };
    let next = |choice: Choice, _| {
        let link_seconds = need * 0.08 * bits(choice.top) / bits(256);
        choice.next(auto, Measured { link_seconds, ..LOOPBACK })
    };
    let last = (0..30).fold(Choice::first(auto), next);
    (last.top, last.steps, last.reason)
}

#[test]
fn updates_are_as_dense_as_the_link_carries_and_longer_only_when_they_are_as_sparse_as_is_allowed() {
    assert_eq!(density_where(0.1), (4096, 5, StepsReason::LinkIsFast));
    assert_eq!(density_where(1.0), (1024, 5, StepsReason::Link), "4096 would take 4.3 of 5 steps");
    assert_eq!(density_where(4.0), (256, 5, StepsReason::Link));
    assert_eq!(density_where(5.5), (128, 5, StepsReason::Link));
    assert_eq!(density_where(10.0), (64, 5, StepsReason::Link));
    assert_eq!(density_where(40.0), (64, 13, StepsReason::Link));
}

#[test]
fn a_density_that_is_set_stays_and_one_between_the_rungs_is_the_end() {
    for set in [16, 100, 3000, 4096] {
        let allowed = Allowed { density: (set, set), ..AUTO };
        assert!([true, false].into_iter().all(|denser| allowed.beside(set, denser) == set));
        assert_eq!(Choice::first(allowed).top, set);
    }
    let some = Allowed { density: (64, 700), ..AUTO };
    assert_eq!((some.beside(512, true), some.beside(700, true), some.beside(700, false)), (700, 700, 512));
}

#[test]
fn odd_measurements_give_a_number_that_is_allowed() {
    for bad in [0.0, f64::INFINITY, f64::NAN, 1e300] {
        for measured in [
            Measured { step_seconds: bad, ..LOOPBACK },
            Measured { link_seconds: bad, ..LOOPBACK },
            Measured { swarm_tokens_per_second: bad, ..LOOPBACK },
        ] {
            let (steps, _) = settled(AUTO, measured);
            assert!((1..=100).contains(&steps), "{measured:?}: {steps}");
        }
    }
}

/// Segments of the default run's size, whose bytes meet an up-link of `bytes_per_second` that is shared out in order.
fn on_an_uplink(bytes_per_second: f64) -> StepsChooser {
    let (begun, step_seconds, segment_bytes) = (Instant::now(), 0.08, 159_000.0);
    let mut totals = Totals { at: begun, queued_bytes: 0, sending: Sending::default(), clock: 0 };
    let mut chooser = StepsChooser::new(AUTO, totals);
    let mut waiting = 0.0;
    for _ in 0..200 {
        let Length { steps, .. } = chooser.length();
        let seconds = f64::from(steps) * step_seconds;
        waiting += segment_bytes;
        let carried = f64::min(waiting, seconds * bytes_per_second);
        waiting -= carried;
        totals.at += Duration::from_secs_f64(seconds);
        totals.queued_bytes += segment_bytes as u64;
        totals.sending.bytes += carried;
        totals.sending.busy += Duration::from_secs_f64(carried / bytes_per_second);
        totals.clock += u64::from(steps) * 4 * 256;
        chooser.record(steps, Duration::from_secs_f64(seconds), 52_000, totals);
    }
    chooser
}

#[test]
fn what_is_measured_leads_to_the_steps_that_a_link_carries() {
    // 20 Mbit/s and 10 Mbit/s carry 159 kB in less than five steps; 2 Mbit/s in eight, 1 Mbit/s in 16.
    let chosen = [2.5e6, 1.25e6, 2.5e5, 1.25e5].map(|uplink| on_an_uplink(uplink).length().steps);
    assert_eq!(chosen, [5, 5, 8, 16]);
}

#[test]
fn the_status_shows_what_the_choice_was_made_from() {
    let status = on_an_uplink(2.5e5).status(3);
    assert_eq!((status.top, status.top_most), (256, 256));
    assert_eq!((status.steps, status.least, status.most, status.peers), (8, 5, 100, 3));
    assert_eq!((status.segment_bytes, status.payload_bytes), (159_000, 52_000));
    assert_eq!(status.uplink_bytes_per_second, Some(250_000));
    assert!((status.link_seconds - 0.636).abs() < 1e-6 && (status.step_seconds - 0.08).abs() < 1e-6);
}
