//! The clocks and random numbers of a guest that is recorded, or replayed.
//!
//! What a clock said is written down, and said again. Random numbers are not: they come from a generator whose seed is in the header.

use crate::player::Shared as Player;
use crate::writer::Shared as Writer;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder};

/// Clocks that are written down, and random numbers from a seed.
pub(crate) fn record(wasi: &mut WasiCtxBuilder, writer: &Arc<Writer>, seed: [u8; 32]) {
    wasi.wall_clock(WrittenWall(writer.clone()));
    wasi.monotonic_clock(WrittenMonotonic(writer.clone(), Instant::now()));
    random(wasi, seed);
}

/// Clocks that say what they said, and the same random numbers.
pub(crate) fn replay(wasi: &mut WasiCtxBuilder, player: &Arc<Player>, seed: [u8; 32]) {
    wasi.wall_clock(ReadWall(player.clone()));
    wasi.monotonic_clock(ReadMonotonic(player.clone()));
    random(wasi, seed);
}

/// The three sources of random numbers that WASI has: streams of one generator, which tell nothing of each other.
fn random(wasi: &mut WasiCtxBuilder, seed: [u8; 32]) {
    let stream = |number| {
        let mut generator = ChaCha20Rng::from_seed(seed);
        generator.set_stream(number);
        Seeded(generator)
    };
    wasi.secure_random(stream(1));
    wasi.insecure_random(stream(2));
    let Seeded(mut third) = stream(3);
    wasi.insecure_random_seed(u128::from(third.next_u64()) << 64 | u128::from(third.next_u64()));
}

/// A generator by the trait of another version.
struct Seeded(ChaCha20Rng);

impl rand_core_010::TryRng for Seeded {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A line that says what a clock said.
fn line(name: &str, nanoseconds: u64) -> impl FnOnce(&mut Vec<u8>) {
    let text = format!("{{\"{name}\":{nanoseconds}}}");
    move |line: &mut Vec<u8>| line.extend_from_slice(text.as_bytes())
}

struct WrittenWall(Arc<Writer>);

impl HostWallClock for WrittenWall {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.0.line(line("wall", nanoseconds(now)));
        now
    }
}

struct WrittenMonotonic(Arc<Writer>, Instant);

impl HostMonotonicClock for WrittenMonotonic {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        let now = nanoseconds(self.1.elapsed());
        self.0.line(line("monotonic", now));
        now
    }
}

struct ReadWall(Arc<Player>);

impl HostWallClock for ReadWall {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.wall())
    }
}

struct ReadMonotonic(Arc<Player>);

impl HostMonotonicClock for ReadMonotonic {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.0.monotonic()
    }
}
