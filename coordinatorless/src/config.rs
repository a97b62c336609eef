//! The settings of one peer. Peers need not agree on them.

use core::time::Duration;

use crate::message::PAYLOAD_IN_MESSAGE_MAX;

/// How one peer uses the network and its own resources.
#[derive(Clone, Debug)]
pub struct Config {
    /// Time between rounds of anti-entropy with a random neighbour. A shorter time repairs losses sooner and costs a
    /// digest in each direction: 200 bytes, and 44 for each author with news since the last one. A tenth of a segment
    /// is a good choice.
    pub anti_entropy_every: Duration,
    /// The same while finishing, when the peers wait for agreement.
    pub finish_every: Duration,
    /// A request without an answer after this time goes to another neighbour. The time that a long answer takes at 10
    /// Mbit/s is added.
    pub request_timeout: Duration,
    /// Neighbours to which a new entry is announced, at most. A neighbour pulls an announced entry, so each entry
    /// still travels once.
    pub fanout: usize,
    /// Connections, at most.
    pub neighbours_max: usize,
    /// A swarm of up to this many peers is a full mesh. In a larger one each peer has a few random neighbours.
    pub neighbours_target: usize,
    /// Time between checks of the view: whether there are too few or too many neighbours, and whether connections are
    /// idle.
    pub look_around_every: Duration,
    /// Time between dials of a stored peer that is believed down. These dials heal a partition.
    pub heal_every: Duration,
    /// A connection that is not a neighbour's is closed after this long without traffic.
    pub idle_after: Duration,
    /// Dials under way at a time, at most.
    pub dials_at_once: usize,
    /// How members are probed.
    pub swim: Swim,
    /// Rate limit for messages of one neighbour, per second; the token bucket holds two seconds' worth. Further ones
    /// are dropped.
    pub messages_per_second: u64,
    /// The same for datagrams. A neighbour needs about ten.
    pub datagrams_per_second: u64,
    /// Rate limit for bytes that one neighbour sends without a request, per second; the token bucket holds two
    /// seconds' worth. Further ones are dropped. Announcements, digests and votes of a thousand authors take a
    /// hundred thousand.
    pub received_bytes_per_second: u64,
    /// Rate limit for bytes of answers to one neighbour, per second; the token bucket holds two seconds' worth.
    /// Further requests of the neighbour wait.
    pub served_bytes_per_second: u64,
    /// The number of offences for which a neighbour is banned. The weight of an offence halves every minute.
    pub strikes_max: u32,
    /// Duration of the first ban of a peer; each further ban lasts twice as long.
    pub ban: Duration,
    /// Entries stored without their predecessors, at most.
    pub pending_max: usize,
    /// And their bytes, at most.
    pub pending_bytes_max: usize,
    /// The longest payload that travels in one message with its entry, in bytes; a longer one travels in chunks. Peers of a
    /// run must agree on it. Only tests have reason to change it.
    pub payload_in_message_max: usize,
    /// Audits that wait for their carry or for replay, at most; the peer accepts no more.
    pub audits_max: usize,
    /// Own carries kept for auditors, in segments.
    pub carries_kept: usize,
    /// Time between the turns of two voters to propose a frontier. A few times the delay between any two peers.
    pub propose_stagger: Duration,
    /// Timeout of the first round of deciding a frontier; each further round takes longer by as much. It must leave
    /// time to pull an update that some voters lack.
    pub round_timeout: Duration,
    /// Whether to enroll as soon as the peer has caught up, so that it can be drawn as an auditor of later updates.
    /// Set it to false for a peer that only stores, checks and forwards entries of others: it enrolls with its first
    /// own entry, and until then no version vector names it.
    pub enroll_early: bool,
    /// A neighbour must have known this process for this long before the process may sign anything. In that time an
    /// earlier process with the same identity can object. Longer than one second, after which a lost connection is
    /// dialed again, plus a few round trips.
    pub alone_after: Duration,
    /// A restarted peer that reaches no other peer trains on alone after this time.
    pub lonely_after: Duration,
    /// Whether addresses that other peers sent are dialed only if they are loopback addresses.
    pub loopback_only: bool,
    /// Whether this peer offers its neighbours to act as a relay between peers that cannot reach each other. The
    /// transport's limits must allow it, too. Set it only where every peer can dial in.
    pub relay: bool,
    /// A dial that takes this long counts as slow, because a NAT may block it: a mutual neighbour is asked for an
    /// introduction while the dial goes on. The time is shorter if most dials here took less than a third of it, and
    /// zero if the address is that of this peer's own NAT. Above two round trips to nearly all peers, which is the
    /// duration of an unhindered dial.
    pub doubt_after: Duration,
    /// Timeout of one step of NAT traversal. Longer than the transport's own limit for a handshake.
    pub reach_patience: Duration,
    /// Time until the first attempt to replace a relayed connection by a direct one; it comes earlier if another
    /// round of hole punching would. The second attempt follows after twice this time, and each further one after
    /// twice as long, up to 32 times.
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
            payload_in_message_max: PAYLOAD_IN_MESSAGE_MAX,
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
    /// For peers spread over the internet: all timeouts for answers are longer.
    pub fn wan() -> Self {
        let (request_timeout, alone_after) = (Duration::from_secs(15), Duration::from_secs(6));
        let idle_after = Duration::from_secs(30);
        Self { swim: Swim::wan(), request_timeout, idle_after, alone_after, ..Self::default() }
    }
}

/// How members are probed (Das, Gupta, Motivala: SWIM, 2002). In a small swarm, all members declare a dead member
/// down after about `probe_every · 1.6 + suspicion`. Both presets leave room for a peer whose processor is busy.
#[derive(Clone, Copy, Debug)]
pub struct Swim {
    /// Time between probes of a random member. A member that has not answered before the next probe is suspected.
    pub probe_every: Duration,
    /// After this time without a direct answer, other members are asked to probe. Longer than nearly all round trips.
    pub probe_rtt: Duration,
    /// Number of other members that are asked.
    pub indirect_probes: usize,
    /// Time that a suspected member has to refute the suspicion; in swarms above a hundred members it grows with the
    /// logarithm.
    pub suspicion: Duration,
    /// Time between rounds of gossip, while there are updates.
    pub gossip_every: Duration,
    /// Members that receive one round of gossip.
    pub gossip_fanout: usize,
    /// Time between requests to a random member for the members that it knows.
    pub announce_every: Duration,
    /// Time for which a member that is down stays in the list.
    pub forget_after: Duration,
    /// Members stored, at most.
    pub members_max: usize,
}

impl Swim {
    /// For one machine or one site. The times are memberlist's for a LAN.
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

    /// For the internet with its slow, lossy and asymmetric links. The times are memberlist's for a WAN.
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
