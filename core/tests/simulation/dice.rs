//! Chance from a seed. The generator and its seeding are of fixed algorithm,
//! and the arithmetic on top is our own: the same on every machine and with
//! every later version of the crate.

use std::time::Duration;

use rand_core::{Rng, SeedableRng};
use rand_xorshift::XorShiftRng;

#[derive(Clone, Debug)]
pub struct Dice(XorShiftRng);

impl Dice {
    /// Each `stream` of a seed is independent of the others, so that leaving
    /// one fault out does not change what the others do.
    pub fn new(seed: u64, stream: &str) -> Self {
        let mut mixed = 0xcbf2_9ce4_8422_2325_u64;
        for byte in stream.bytes() {
            mixed = (mixed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self(XorShiftRng::seed_from_u64(seed ^ mixed))
    }

    /// 0..`n`.
    pub fn below(&mut self, n: u64) -> u64 {
        let wide = u128::from(self.0.next_u64()) * u128::from(n.max(1));
        u64::try_from(wide >> 64).expect("below n")
    }

    pub fn index(&mut self, n: usize) -> usize {
        let n = u64::try_from(n).expect("few");
        usize::try_from(self.below(n)).expect("below n")
    }

    /// Both included.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to.saturating_sub(from) + 1)
    }

    pub fn byte(&mut self, from: u8, to: u8) -> u8 {
        let value = self.between(u64::from(from), u64::from(to));
        u8::try_from(value).expect("between two bytes")
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let index = self.index(of.len());
        *of.get(index).expect("not empty")
    }

    pub fn span(&mut self, from: Duration, to: Duration) -> Duration {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).expect("short");
        Duration::from_nanos(self.between(nanos(from), nanos(to)))
    }
}
