//! Private sortition: who audits is drawn by each peer alone, with a verifiable random function (VRF).
//!
//! A VRF gives its key's owner, for any input, one output that nobody else can predict and that the owner cannot choose,
//! with a proof that it is the right one. An Ed25519 signature would not do: its nonce is the signer's choice, so an
//! owner could try many. This is the ristretto DLEQ VRF of schnorrkel (Goldberg et al., "Making NSEC5 practical",
//! section 4, over ristretto255).
//!
//! A peer is drawn when its sortition value, a hash of its VRF output, lies below the chance. The output stays secret until
//! the verdict is published, so an author cannot learn its auditors before that, let alone bribe them.

use murmur_collectives::{Chance, Entry, Hash, Identity, PeerId, Stage, Verdict};
use rand_core::{CryptoRng, RngCore};
use schnorrkel::{
    ExpansionMode, Keypair, MiniSecretKey, PublicKey,
    context::{SigningContext, SigningTranscript, attach_rng, signing_context},
    vrf::{VRFInOut, VRFPreOut, VRFProof},
};

/// Hash context of what a lottery is about. Its text is part of the protocol.
const POSITION_CONTEXT: &str = "murmuration audit position v1";

/// What is drawn for: a position in a chain, and which of its lotteries. Nothing of what the update there says is in it:
/// an author could try its free fields, such as the loss, until a friend is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    position: Hash,
    stage: Stage,
}

impl Subject {
    /// A lottery on position `seq` of the chain of `author`.
    pub fn at(run: Hash, author: PeerId, seq: u32, stage: Stage) -> Self {
        let position = Hash::of(POSITION_CONTEXT, &[&run.0[..], &author.0, &seq.to_le_bytes()].concat());
        Self { position, stage }
    }

    /// A lottery on `update`.
    pub fn of(update: &Entry, stage: Stage) -> Self {
        Self::at(update.header().run, update.author(), update.seq(), stage)
    }
}

/// A peer's sortition key.
pub struct Lottery(Keypair);

impl core::fmt::Debug for Lottery {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Lottery(secret)")
    }
}

impl Lottery {
    /// The sortition key that follows from an identity; independent of its signing key.
    pub fn of(identity: &Identity) -> Self {
        let secret = identity.derive_secret("murmuration sortition key v1");
        let mini = MiniSecretKey::from_bytes(&secret).expect("any 32 bytes are a mini secret key");
        Self(mini.expand_to_keypair(ExpansionMode::Uniform))
    }

    /// The public key, to be enrolled.
    pub fn public(&self) -> [u8; 32] {
        self.0.public.to_bytes()
    }

    /// Draws. `Some` is the evidence of being drawn: VRF output, then proof.
    pub fn draw(&self, subject: Subject, chance: Chance) -> Option<[u8; 96]> {
        // The proof costs three times what the output does, and most draws need none.
        let mut draw = [0; 96];
        let extra = |output: &VRFInOut| {
            draw[..32].copy_from_slice(output.as_output_bytes());
            chance.draws(Verdict::sortition_value(&draw)).then(|| self.proof_randomness(subject))
        };
        let (_, proof, _) = self.0.vrf_sign_extra_after_check(transcript(subject), extra)?;
        draw[32..].copy_from_slice(&proof.to_bytes());
        Some(draw)
    }

    /// The proof's transcript with a nonce that follows from key and subject.
    fn proof_randomness(&self, subject: Subject) -> impl SigningTranscript + use<> {
        let mut key = [0; 32];
        key.copy_from_slice(&self.0.secret.to_bytes()[..32]);
        let seed = blake3::keyed_hash(&key, &subject.position.0);
        attach_rng(proof_transcript(), HashRng(blake3::Hasher::new_keyed(seed.as_bytes()).finalize_xof()))
    }
}

/// Whether `draw` proves that the owner of `public` was drawn for `subject` at this chance.
pub fn was_drawn(public: &[u8; 32], subject: Subject, chance: Chance, draw: &[u8; 96]) -> bool {
    let stage = [match subject.stage {
        Stage::First => 1,
        Stage::Confirm => 2,
    }];
    let statement = [&b"draw"[..], &stage, &chance.0.to_le_bytes(), public, draw, &subject.position.0];
    murmur_collectives::holds(&statement, || proves_draw(public, subject, chance, draw))
}

fn proves_draw(public: &[u8; 32], subject: Subject, chance: Chance, draw: &[u8; 96]) -> bool {
    let (output, proof) = draw.split_at(32);
    let parsed = PublicKey::from_bytes(public)
        .ok()
        .zip(VRFPreOut::from_bytes(output).ok())
        .zip(VRFProof::from_bytes(proof).ok());
    let Some(((key, output), proof)) = parsed else { return false };
    let verified = key.vrf_verify_extra(transcript(subject), &output, &proof, proof_transcript());
    verified.is_ok() && chance.draws(Verdict::sortition_value(draw))
}

fn transcript(subject: Subject) -> impl SigningTranscript + Clone {
    let context: SigningContext = signing_context(match subject.stage {
        Stage::First => b"murmuration audit, first lottery v1",
        Stage::Confirm => b"murmuration audit, confirming lottery v1",
    });
    context.bytes(&subject.position.0)
}

fn proof_transcript() -> impl SigningTranscript {
    signing_context(b"murmuration audit proof v1").bytes(b"")
}

/// Proof nonces from BLAKE3 instead of the operating system: the proof is a function of key and subject.
struct HashRng(blake3::OutputReader);

impl RngCore for HashRng {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.0.fill(dest);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for HashRng {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use murmur_collectives::{Body, Header, Update};

    use super::*;

    fn lottery(secret: u8) -> Lottery {
        Lottery::of(&Identity::from_secret(&[secret; 32]))
    }

    fn subject(n: u32, stage: Stage) -> Subject {
        Subject::at(Hash([7; 32]), PeerId([8; 32]), n, stage)
    }

    #[test]
    fn a_draw_proves_itself_and_nothing_else() {
        let (mine, other) = (lottery(1), lottery(2));
        let about = subject(0, Stage::First);
        let draw = mine.draw(about, Chance::CERTAIN).unwrap();
        assert!(was_drawn(&mine.public(), about, Chance::CERTAIN, &draw));
        assert!(!was_drawn(&other.public(), about, Chance::CERTAIN, &draw));
        assert!(!was_drawn(&mine.public(), subject(1, Stage::First), Chance::CERTAIN, &draw));
        assert!(!was_drawn(&mine.public(), subject(0, Stage::Confirm), Chance::CERTAIN, &draw));
        assert!(!was_drawn(&mine.public(), about, Chance::NEVER, &draw));
        for at in [0, 40, 95] {
            let mut bent = draw;
            bent[at] ^= 1;
            assert!(!was_drawn(&mine.public(), about, Chance::CERTAIN, &bent));
        }
    }

    #[test]
    fn a_draw_is_a_function_of_key_and_subject() {
        let about = subject(3, Stage::First);
        assert_eq!(lottery(1).draw(about, Chance::CERTAIN), lottery(1).draw(about, Chance::CERTAIN));
    }

    #[test]
    fn nothing_that_an_update_says_changes_who_is_drawn() {
        let identity = Identity::from_secret(&[5; 32]);
        let said = |loss_micronats: u32| {
            let update = Update {
                segment: 3,
                steps: 1,
                merges: Vec::new(),
                tokens: 1,
                payload: Hash([1; 32]),
                payload_bytes: 1,
                top: 64,
                norm: 1,
                loss_micronats,
                trace: Hash([2; 32]),
                carry_before: Hash::NONE,
                carry_after: Hash([3; 32]),
                class: Hash([4; 32]),
            };
            let (run, author, previous, frontier) = (Hash([7; 32]), identity.peer_id(), Hash([8; 32]), Hash::NONE);
            let body = Body::Update(update);
            Entry::sign(&identity, Header { run, author, seq: 9, previous, epoch: 0, frontier, base: Vec::new(), body })
        };
        let draw = |loss| lottery(1).draw(Subject::of(&said(loss), Stage::First), Chance::CERTAIN);
        assert_ne!(said(0).hash(), said(1).hash());
        assert_eq!(draw(0), draw(1));
    }

    #[test]
    fn about_as_many_are_drawn_as_the_chance_says() {
        let (mine, quarter) = (lottery(9), Chance(1 << 30));
        let drawn = (0..400).filter(|n| mine.draw(subject(*n, Stage::First), quarter).is_some()).count();
        assert!((70..=130).contains(&drawn), "{drawn} of 400 at a chance of ¼");
    }
}
