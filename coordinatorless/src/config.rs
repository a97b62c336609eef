//! A peer's own settings: nothing in here needs to be agreed on.

use core::time::Duration;

/// How one peer behaves towards the network.
#[derive(Clone, Debug)]
pub struct Config {
    /// Time between rounds of anti-entropy with a random neighbour. Shorter repairs losses sooner and costs a digest each
    /// way: 200 bytes, and 44 for each author heard of since the one before. A tenth of a segment is a good choice.
    pub anti_entropy_every: Duration,
    /// The same while finishing, when agreement is waited for.
    pub finish_every: Duration,
    /// After this long, and the time a long answer takes at 10 Mbit/s, a request counts as unanswered and goes to another
    /// neighbour.
    pub request_timeout: Duration,
    /// Neighbours to announce a new entry to, at most. Announcements are pulled, so each entry still travels once.
    pub fanout: usize,
    /// Connections, at most.
    pub neighbours_max: usize,
    /// A swarm of up to this many peers is connected each with each; in a larger one each has a random few neighbours.
    pub neighbours_target: usize,
    /// Time between looks at the neighbourhood: whether there are too few or too many, whether connections idle.
    pub look_around_every: Duration,
    /// Time between dials of a remembered peer that is believed dead, which heal a swarm that fell apart.
    pub heal_every: Duration,
    /// A connection that is no neighbour's is closed when nothing was said on it for this long.
    pub idle_after: Duration,
    /// Dials under way at once.
    pub dials_at_once: usize,
    /// How members are probed.
    pub swim: Swim,
    /// Messages of one neighbour that are looked at, a second; twice as many at once.
    pub messages_per_second: u64,
    /// The same for datagrams. A neighbour needs about ten.
    pub datagrams_per_second: u64,
    /// Bytes that one neighbour may send without being asked, a second; twice as many at once. Beyond, they are dropped.
    /// Announcements, digests and votes of a thousand authors take a hundred thousand.
    pub received_bytes_per_second: u64,
    /// Bytes of answers to one neighbour, a second; twice as many at once. Beyond, its requests wait.
    pub served_bytes_per_second: u64,
    /// Offences until a neighbour is sent away. What an offence counts halves every minute.
    pub strikes_max: u32,
    /// How long it stays away the first time; each time twice as long as the last.
    pub ban: Duration,
    /// Entries whose past is missing are kept up to this many.
    pub pending_max: usize,
    /// And up to so many bytes.
    pub pending_bytes_max: usize,
    /// Audits waiting for their carry or for replay, at most; more are not taken on.
    pub audits_max: usize,
    /// Own carries kept for auditors: segments.
    pub carries_kept: usize,
    /// Time between two voters' turns to propose a frontier. A few times the delay between any two peers.
    pub propose_stagger: Duration,
    /// How long the first round of deciding a frontier takes at most; each next one takes as much longer. Must leave time
    /// to pull an update that some lack.
    pub round_timeout: Duration,
    /// Whether to enroll as soon as it has caught up, so that it can be drawn as an auditor of what follows. One that only
    /// holds, checks and passes on what others say should not: it enrolls when it has something to say, and until then
    /// its name is in nobody's version vector.
    pub enroll_early: bool,
    /// How long a neighbour must have known this process before it may sign: an earlier process with the same identity has
    /// that time to object. Above a second, after which a lost connection is dialed again, and some round trips.
    pub alone_after: Duration,
    /// A restarted peer that finds nobody trains on alone after this long.
    pub lonely_after: Duration,
    /// Whether addresses that peers tell are dialed only if they are loopback addresses.
    pub loopback_only: bool,
    /// Whether this peer tells its neighbours that it passes packets on between peers that cannot reach each other. The
    /// transport's limits must allow it, too; volunteer only where anyone can dial in.
    pub relay: bool,
    /// A dial that has taken this long may meet a translator: a mutual neighbour is asked to bring both together while it goes
    /// on; at once where the address is this peer's own as others see it, and sooner where most dials took less than a third
    /// of it. Above two round trips to nearly everyone, which a dial takes when nothing is in its way.
    pub doubt_after: Duration,
    /// How long a way may take until another is tried. Longer than the transport's own limit for a handshake.
    pub reach_patience: Duration,
    /// The first attempt to replace a relayed connection by a straight one comes after this long, or sooner: when another round
    /// of punching would begin, if there were no relay. The next one comes after twice this, each further one after twice the
    /// time, up to 32 times.
    pub reach_upgrade_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            anti_entropy_every: Duration::from_millis(1000),
            finish_every: Duration::from_millis(150),
            request_timeout: Duration::from_secs(5),
            fanout: 6,
            neighbours_max: 64,
            neighbours_target: 24,
            look_around_every: Duration::from_secs(5),
            heal_every: Duration::from_secs(60),
            idle_after: Duration::from_secs(15),
            dials_at_once: 8,
            swim: Swim::lan(),
            messages_per_second: 2000,
            datagrams_per_second: 100,
            received_bytes_per_second: 1 << 20,
            served_bytes_per_second: 64 << 20,
            strikes_max: 3,
            ban: Duration::from_secs(60),
            pending_max: 1024,
            pending_bytes_max: 128 << 20,
            audits_max: 8,
            carries_kept: 8,
            propose_stagger: Duration::from_millis(500),
            round_timeout: Duration::from_secs(3),
            enroll_early: true,
            alone_after: Duration::from_secs(3),
            lonely_after: Duration::from_secs(5),
            loopback_only: true,
            relay: false,
            doubt_after: Duration::from_millis(500),
            reach_patience: Duration::from_secs(6),
            reach_upgrade_after: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// For peers spread over the internet: everything that waits for an answer waits longer.
    pub fn wan() -> Self {
        let (request_timeout, alone_after) = (Duration::from_secs(15), Duration::from_secs(6));
        let idle_after = Duration::from_secs(30);
        Self { swim: Swim::wan(), request_timeout, idle_after, alone_after, ..Self::default() }
    }
}

/// How members are probed (Das, Gupta, Motivala: SWIM, 2002). A member that dies is down for everyone after about
/// `probe_every · 1.6 + suspicion` in a small swarm; both presets leave room for a peer whose processor is busy.
#[derive(Clone, Copy, Debug)]
pub struct Swim {
    /// Time between probes of a random member; whoever has not answered by the next one is suspected.
    pub probe_every: Duration,
    /// After this long without a direct answer others are asked to probe. Longer than nearly every round trip.
    pub probe_rtt: Duration,
    /// How many others are asked.
    pub indirect_probes: usize,
    /// How long a suspected member has to deny it; longer in swarms above a hundred, with the logarithm.
    pub suspicion: Duration,
    /// Time between rounds of gossip, while there is news.
    pub gossip_every: Duration,
    /// Members told in a round of gossip.
    pub gossip_fanout: usize,
    /// Time between asking a random member for others it knows.
    pub announce_every: Duration,
    /// How long a member that is down is remembered.
    pub forget_after: Duration,
    /// Members remembered, at most.
    pub members_max: usize,
}

impl Swim {
    /// One machine or one site. The times are memberlist's for a LAN.
    pub const fn lan() -> Self {
        Self {
            probe_every: Duration::from_secs(1),
            probe_rtt: Duration::from_millis(500),
            indirect_probes: 3,
            suspicion: Duration::from_secs(4),
            gossip_every: Duration::from_millis(200),
            gossip_fanout: 3,
            announce_every: Duration::from_secs(30),
            forget_after: Duration::from_secs(3600),
            members_max: 4096,
        }
    }

    /// The internet: slow, lossy and asymmetric links. The times are memberlist's for a WAN.
    pub const fn wan() -> Self {
        Self {
            probe_every: Duration::from_secs(5),
            probe_rtt: Duration::from_secs(3),
            suspicion: Duration::from_secs(30),
            gossip_every: Duration::from_millis(500),
            gossip_fanout: 4,
            announce_every: Duration::from_secs(60),
            ..Self::lan()
        }
    }
}
