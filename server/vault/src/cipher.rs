//! Sealing with keys at hand: AES-GCM, AES-CBC, and AES-GCM under keys derived from a seed.
//!
//! Start at [`Cipher`]. All of it is `aws-lc-rs`; here is only the form: the nonce stands before
//! what is sealed, the tag behind. The invariant: a nonce is random and never used twice on
//! purpose; a seed's derived key is used once. AES-CBC knows nothing of where a value belongs and
//! tells no damage: it is here for those who come with it.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey,
    PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};
use aws_lc_rs::iv::FixedLength;
use hanse_seams::Rng;

/// Bytes of a block of AES, and of the first block's neighbour in CBC.
const BLOCK: usize = 16;
/// Bytes of a seed, of what is mixed into it, and of the key that comes out.
pub(crate) const SEED: usize = 32;

/// Why a value does not open, in the words of the original.
pub(crate) type Error = &'static str;

const SHORT: Error = "the stored data was shorter than the required size";
const FORGED: Error = "cipher: message authentication failed";
const CANNOT: Error = "the value cannot be encrypted";

/// A key with its way of sealing.
pub(crate) enum Cipher {
    /// Authenticated, and bound to the value's key.
    Gcm(LessSafeKey),
    /// Neither.
    Cbc(Box<(PaddedBlockEncryptingKey, PaddedBlockDecryptingKey)>),
}

impl Cipher {
    /// A key of 16, 24 or 32 bytes; `None` for another length.
    pub(crate) fn gcm(key: &[u8]) -> Option<Self> {
        gcm(key).map(Self::Gcm)
    }

    /// A key of 16, 24 or 32 bytes; `None` for another length.
    pub(crate) fn cbc(key: &[u8]) -> Option<Self> {
        let algorithm = match key.len() {
            16 => &AES_128,
            24 => &AES_192,
            32 => &AES_256,
            _ => return None,
        };
        let unbound = || UnboundCipherKey::new(algorithm, key).ok();
        let encrypt = PaddedBlockEncryptingKey::cbc_pkcs7(unbound()?).ok()?;
        let decrypt = PaddedBlockDecryptingKey::cbc_pkcs7(unbound()?).ok()?;
        Some(Self::Cbc(Box::new((encrypt, decrypt))))
    }

    /// Appends the sealed value.
    pub(crate) fn seal(
        &self,
        rng: &dyn Rng,
        place: &[u8],
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        match self {
            Self::Gcm(key) => seal_gcm(key, rng, place, plain, out),
            Self::Cbc(keys) => {
                let mut iv = [0; BLOCK];
                rng.fill(&mut iv);
                let mut body = Vec::with_capacity(plain.len() + BLOCK);
                body.extend_from_slice(plain);
                let context = EncryptionContext::Iv128(FixedLength::from(iv));
                let done = keys.0.less_safe_encrypt(&mut body, context);
                done.map_err(|_| CANNOT)?;
                out.extend_from_slice(&iv);
                out.extend_from_slice(&body);
                Ok(())
            }
        }
    }

    /// The plain value.
    pub(crate) fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Error> {
        match self {
            Self::Gcm(key) => open_gcm(key, place, sealed),
            Self::Cbc(keys) => {
                let (iv, body) = sealed.split_first_chunk::<BLOCK>().ok_or(SHORT)?;
                if body.len() % BLOCK != 0 {
                    return Err("the stored data is not a multiple of the block size");
                }
                let mut body = body.to_vec();
                let context = DecryptionContext::Iv128(FixedLength::from(iv));
                let plain = keys.1.decrypt(&mut body, context);
                let length = plain.map_err(|_| "invalid padding on input")?.len();
                body.truncate(length);
                Ok(body)
            }
        }
    }
}

fn gcm(key: &[u8]) -> Option<LessSafeKey> {
    let algorithm = match key.len() {
        16 => &AES_128_GCM,
        24 => &AES_192_GCM,
        32 => &AES_256_GCM,
        _ => return None,
    };
    Some(LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?))
}

fn seal_gcm(
    key: &LessSafeKey,
    rng: &dyn Rng,
    place: &[u8],
    plain: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let mut nonce = [0; NONCE_LEN];
    rng.fill(&mut nonce);
    out.extend_from_slice(&nonce);
    let begin = out.len();
    out.extend_from_slice(plain);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let (_, body) = out.split_at_mut(begin);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(place), body);
    out.extend_from_slice(tag.map_err(|_| CANNOT)?.as_ref());
    Ok(())
}

fn open_gcm(key: &LessSafeKey, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Error> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(SHORT)?;
    let mut body = body.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let plain = key.open_in_place(nonce, Aad::from(place), &mut body);
    let length = plain.map_err(|_| FORGED)?.len();
    body.truncate(length);
    Ok(body)
}

/// What a plugin wraps: either a seed, of which every value gets a key of its own, or (in what
/// older servers wrote) one key for all.
pub(crate) enum Seed {
    /// HKDF-SHA256, expanded with 32 random bytes that stand before the value.
    Derived(Prk),
    /// An AES-GCM key as it is.
    Key(LessSafeKey),
}

impl Seed {
    pub(crate) fn derived(seed: &[u8]) -> Option<Self> {
        let long_enough = seed.len() >= SEED;
        long_enough.then(|| Self::Derived(Prk::new_less_safe(HKDF_SHA256, seed)))
    }

    pub(crate) fn key(key: &[u8]) -> Option<Self> {
        gcm(key).map(Self::Key)
    }

    /// Appends the sealed value.
    pub(crate) fn seal(
        &self,
        rng: &dyn Rng,
        place: &[u8],
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        match self {
            Self::Key(key) => seal_gcm(key, rng, place, plain, out),
            Self::Derived(seed) => {
                let mut info = [0; SEED];
                rng.fill(&mut info);
                out.extend_from_slice(&info);
                seal_gcm(&derive(seed, &info)?, rng, place, plain, out)
            }
        }
    }

    /// The plain value.
    pub(crate) fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Error> {
        match self {
            Self::Key(key) => open_gcm(key, place, sealed),
            Self::Derived(seed) => {
                let (info, sealed) = sealed.split_at_checked(SEED).ok_or(SHORT)?;
                open_gcm(&derive(seed, info)?, place, sealed)
            }
        }
    }
}

fn derive(seed: &Prk, info: &[u8]) -> Result<LessSafeKey, Error> {
    let mut key = [0; SEED];
    let info = [info];
    let expanded = seed.expand(&info, HKDF_SHA256);
    let filled = expanded.and_then(|expanded| expanded.fill(&mut key));
    filled.map_err(|_| "failed to derive a key from the seed")?;
    gcm(&key).ok_or(CANNOT)
}

#[cfg(test)]
mod tests {
    use hanse_seams::Simulation;

    use super::{Cipher, Seed};

    #[test]
    fn what_is_sealed_opens_in_its_place_only() {
        let seams = Simulation::new(3).seams();
        let rng = &*seams.rng;
        let key: Vec<u8> = (0..32).collect();
        for length in [16, 24, 32] {
            for plain in [&b""[..], b"x", b"sixteen bytes...", &[7; 1000]] {
                let (gcm, cbc) = (Cipher::gcm(&key[..length]), Cipher::cbc(&key[..length]));
                for (cipher, bound) in [(gcm.unwrap(), true), (cbc.unwrap(), false)] {
                    let mut sealed = Vec::new();
                    cipher.seal(rng, b"here", plain, &mut sealed).unwrap();
                    assert_eq!(cipher.open(b"here", &sealed).unwrap(), plain);
                    assert_eq!(cipher.open(b"there", &sealed).is_err(), bound);
                    assert!(cipher.open(b"here", &sealed[..sealed.len() - 1]).is_err());
                    assert!(cipher.open(b"here", b"short").is_err());
                }
            }
        }
        assert!(Cipher::gcm(&key[..17]).is_none() && Cipher::cbc(&key[..17]).is_none());
    }

    #[test]
    fn every_value_of_a_seed_has_a_key_of_its_own() {
        let seams = Simulation::new(4).seams();
        let rng = &*seams.rng;
        for seed in [
            Seed::derived(&[9; 32]).unwrap(),
            Seed::key(&[9; 32]).unwrap(),
        ] {
            let seal = || {
                let mut sealed = Vec::new();
                seed.seal(rng, b"here", b"plain", &mut sealed).unwrap();
                sealed
            };
            let (first, second) = (seal(), seal());
            assert_ne!(first, second);
            for mut sealed in [first, second] {
                assert_eq!(seed.open(b"here", &sealed).unwrap(), b"plain");
                assert!(seed.open(b"there", &sealed).is_err());
                *sealed.last_mut().unwrap() ^= 1;
                assert!(seed.open(b"here", &sealed).is_err());
            }
        }
        assert!(Seed::derived(&[9; 31]).is_none());
    }
}
