//! The proof of a key, without sending it: a challenge of random bytes, answered with their HMAC under the key.
//!
//! It is the standard library's protocol, in both its forms. Since Python 3.12 a challenge and its answer name
//! their digest in braces; before, there were twenty random bytes, answered with a bare HMAC-MD5.
//! An old peer answers a challenge of ours with that, whatever digest it names; so it is taken.

use crate::error::{Error, Kind, Result};
use hmac::{Hmac, KeyInit, Mac};
use rustix::rand::{GetRandomFlags, getrandom};

/// Before a challenge.
pub const CHALLENGE: &[u8] = b"#CHALLENGE#";
/// After a right answer.
pub const WELCOME: &[u8] = b"#WELCOME#";
/// After a wrong answer.
pub const FAILURE: &[u8] = b"#FAILURE#";
/// How many random bytes a challenge of ours has.
pub const RANDOM_BYTES: usize = 40;
/// No message of a handshake is longer.
pub const MOST_BYTES: u64 = 256;

/// An old peer's challenge.
const OLD_CHALLENGE: usize = 20;
/// An old peer's answer.
const OLD_ANSWER: usize = 16;

/// The digests that may be named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Digest {
    /// Of peers before Python 3.12.
    Md5,
    /// What challenges of ours ask for.
    Sha256,
    /// SHA-2 with 384 bits.
    Sha384,
    /// SHA-3 with 256 bits.
    Sha3With256,
    /// SHA-3 with 384 bits.
    Sha3With384,
}

const NAMES: [(&str, Digest); 5] = [
    ("md5", Digest::Md5),
    ("sha256", Digest::Sha256),
    ("sha384", Digest::Sha384),
    ("sha3_256", Digest::Sha3With256),
    ("sha3_384", Digest::Sha3With384),
];

impl Digest {
    /// The digest of this name.
    pub fn named(name: &[u8]) -> Option<Self> {
        let mut all = NAMES.iter();
        all.find(|(known, _)| known.as_bytes() == name)
            .map(|&(_, digest)| digest)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let mut all = NAMES.iter();
        all.find(|&&(_, digest)| digest == self)
            .map_or("", |&(name, _)| name)
    }

    fn mac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        match self {
            Self::Md5 => made::<Hmac<md5::Md5>>(key, message),
            Self::Sha256 => made::<Hmac<sha2::Sha256>>(key, message),
            Self::Sha384 => made::<Hmac<sha2::Sha384>>(key, message),
            Self::Sha3With256 => made::<Hmac<sha3::Sha3_256>>(key, message),
            Self::Sha3With384 => made::<Hmac<sha3::Sha3_384>>(key, message),
        }
    }

    /// Compares in constant time.
    fn fits(self, key: &[u8], message: &[u8], mac: &[u8]) -> bool {
        match self {
            Self::Md5 => compared::<Hmac<md5::Md5>>(key, message, mac),
            Self::Sha256 => compared::<Hmac<sha2::Sha256>>(key, message, mac),
            Self::Sha384 => compared::<Hmac<sha2::Sha384>>(key, message, mac),
            Self::Sha3With256 => compared::<Hmac<sha3::Sha3_256>>(key, message, mac),
            Self::Sha3With384 => compared::<Hmac<sha3::Sha3_384>>(key, message, mac),
        }
    }
}

fn of<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> M {
    let keyed = <M as KeyInit>::new_from_slice(key);
    keyed
        .expect("HMAC takes a key of any length")
        .chain_update(message)
}

fn made<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
    of::<M>(key, message).finalize().into_bytes().to_vec()
}

fn compared<M: Mac + KeyInit>(key: &[u8], message: &[u8], mac: &[u8]) -> bool {
    of::<M>(key, message).verify_slice(mac).is_ok()
}

fn refused(text: impl Into<String>) -> Error {
    Error::new(Kind::AuthenticationFailed, text)
}

/// The digest that a challenge or an answer names in braces, and what follows; `None`: it is an old peer's.
pub fn split(message: &[u8]) -> Result<(Option<Digest>, &[u8])> {
    if message.len() == OLD_CHALLENGE || message.len() == OLD_ANSWER {
        return Ok((None, message));
    }
    let named = message.strip_prefix(b"{").and_then(|rest| {
        let end = rest.iter().position(|&byte| byte == b'}')?;
        Some((Digest::named(&rest[..end])?, &rest[end + 1..]))
    });
    named
        .map(|(digest, rest)| (Some(digest), rest))
        .ok_or_else(|| {
            let (len, known) = (message.len(), NAMES.map(|(name, _)| name).join(", "));
            refused(format!(
                "the other end sent {len} bytes that name no digest; there are: {known}"
            ))
        })
}

/// A fresh challenge, without what stands before it.
pub fn challenge(digest: Digest) -> Result<Vec<u8>> {
    let mut message = format!("{{{}}}", digest.name()).into_bytes();
    let named = message.len();
    message.resize(named + RANDOM_BYTES, 0);
    let mut have = named;
    while have < message.len() {
        match getrandom(&mut message[have..], GetRandomFlags::empty()) {
            Ok(n) => have += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::system("taking random bytes", error)),
        }
    }
    Ok(message)
}

/// The answer to a challenge, given without what stands before it.
pub fn answer(key: &[u8], challenge: &[u8]) -> Result<Vec<u8>> {
    let Some(digest) = split(challenge)?.0 else {
        return Ok(Digest::Md5.mac(key, challenge));
    };
    let mut answer = format!("{{{}}}", digest.name()).into_bytes();
    answer.extend(digest.mac(key, challenge));
    Ok(answer)
}

/// Whether an answer fits its challenge; else an error of kind [`Kind::AuthenticationFailed`].
pub fn verify(key: &[u8], challenge: &[u8], answer: &[u8]) -> Result<()> {
    let (digest, mac) = split(answer)?;
    if digest.unwrap_or(Digest::Md5).fits(key, challenge, mac) {
        return Ok(());
    }
    Err(refused(
        "the other end's answer to the challenge was wrong: it has another key",
    ))
}

/// What a message of the other end's must be: a challenge. Returns what follows its mark.
pub fn challenged(message: &[u8]) -> Result<&[u8]> {
    let challenge = message
        .strip_prefix(CHALLENGE)
        .ok_or_else(|| refused("the other end sent no challenge: it asks for no key"))?;
    if challenge.len() < OLD_CHALLENGE {
        let len = challenge.len();
        return Err(refused(format!(
            "the other end's challenge has {len} bytes, and needs {OLD_CHALLENGE} at least"
        )));
    }
    Ok(challenge)
}

/// What the other end says of our answer: welcome.
pub fn welcomed(message: &[u8]) -> Result<()> {
    if message == WELCOME {
        return Ok(());
    }
    Err(refused(
        "the other end refused our answer to its challenge: it has another key",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_fit_their_challenge_and_key() {
        for (name, digest) in NAMES {
            assert_eq!(Digest::named(name.as_bytes()), Some(digest));
            let challenge = challenge(digest).unwrap();
            let answer = answer(b"key", &challenge).unwrap();
            verify(b"key", &challenge, &answer).unwrap();
            for (key, challenge) in [(&b"other"[..], &challenge[..]), (b"key", b"other")] {
                let error = verify(key, challenge, &answer).unwrap_err();
                assert_eq!(error.kind(), Kind::AuthenticationFailed);
            }
        }
    }

    #[test]
    fn an_old_peers_challenge_has_an_old_answer() {
        // The second case of RFC 2202.
        let mac = Digest::Md5.mac(b"Jefe", b"what do ya want for nothing?");
        let expected = 0x750c_783e_6ab0_b503_eaa8_6e31_0a5d_b738_u128;
        assert_eq!(mac, expected.to_be_bytes());
        let answer = answer(b"key", b"twenty bytes, exactly").unwrap_err();
        assert_eq!(answer.kind(), Kind::AuthenticationFailed);
        let old = b"twenty bytes exactly";
        let answer = super::answer(b"key", old).unwrap();
        assert_eq!(answer.len(), OLD_ANSWER);
        verify(b"key", old, &answer).unwrap();
    }

    #[test]
    fn an_old_peer_may_answer_a_new_challenge() {
        let challenge = challenge(Digest::Sha256).unwrap();
        let answer = Digest::Md5.mac(b"key", &challenge);
        verify(b"key", &challenge, &answer).unwrap();
    }

    #[test]
    fn wrong_messages() {
        for wrong in [
            &b""[..],
            b"{sha256",
            b"{sha1}xxxxxxxxxxxxxxxxxxxxxxxxxxx",
            b"something bogus",
        ] {
            assert_eq!(split(wrong).unwrap_err().kind(), Kind::AuthenticationFailed);
        }
        assert!(challenged(b"#CHALLENGE#short").is_err());
        assert!(challenged(b"hello").is_err());
        assert!(welcomed(FAILURE).is_err());
    }
}
