//! Inputs out of examples: changed, joined, nested, with words of the language put in.

use hanse_seams::{Rng, Simulation};

/// The longest input.
const BYTES_MAX: usize = 64 << 10;

/// One input. Few changes keep most inputs close to what is valid, where parsers do most.
pub fn input(chance: &Simulation, examples: &[&str], words: &[&str]) -> Vec<u8> {
    let mut bytes = pick(chance, examples).as_bytes().to_vec();
    // Two in a row have to meet; some inputs are made of words alone.
    if chance.below(10) == 0 {
        bytes.clear();
    }
    let changes = 1 + chance.below(1 << chance.below(6));
    for _ in 0..changes {
        change(chance, &mut bytes, examples, words);
        bytes.truncate(BYTES_MAX);
    }
    bytes
}

fn pick<'w>(chance: &Simulation, words: &[&'w str]) -> &'w str {
    words[chance.below(words.len() as u64) as usize]
}

/// A place in the bytes, their end among them.
fn place(chance: &Simulation, bytes: &[u8]) -> usize {
    chance.below(bytes.len() as u64 + 1) as usize
}

fn stretch(chance: &Simulation, bytes: &[u8]) -> (usize, usize) {
    let (a, b) = (place(chance, bytes), place(chance, bytes));
    (a.min(b), a.max(b))
}

fn change(chance: &Simulation, bytes: &mut Vec<u8>, examples: &[&str], words: &[&str]) {
    let at = place(chance, bytes);
    match chance.below(9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
        1 if at < bytes.len() => bytes[at] = chance.below(256) as u8,
        2 => {
            let (from, to) = stretch(chance, bytes);
            bytes.drain(from..to.min(from + 16));
        }
        3 => {
            let (from, to) = stretch(chance, bytes);
            let copy = bytes[from..to].to_vec();
            bytes.splice(at..at, copy);
        }
        4 => {
            // The beginning of one and the end of another.
            let other = pick(chance, examples).as_bytes();
            let from = place(chance, other);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        5 => {
            // Deep: the same word very often.
            let word = pick(chance, words).as_bytes();
            let times = 1 << chance.below(13);
            let deep = word.repeat(times.min(BYTES_MAX / word.len().max(1)));
            bytes.splice(at..at, deep);
        }
        6 => {
            let number = (chance.u64() >> chance.below(64)).to_string();
            bytes.splice(at..at, number.into_bytes());
        }
        _ => {
            let word = pick(chance, words).as_bytes();
            bytes.splice(at..at, word.iter().copied());
        }
    }
}
