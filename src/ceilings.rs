//! Ceilings: what this machine can do, measured on the spot.
//!
//! A launch can be no faster than its arithmetic at the rate of a large matrix product, and no faster
//! than its memory traffic at the rate of a copy: the roofline (Williams, Waterman and Patterson,
//! “Roofline: an insightful visual performance model”, 2009). Both rates are measured by launches on
//! the device itself, so the same code serves the CPU and every GPU. The copy's rate depends on how much
//! it touches: data that a cache holds are judged by that cache. Bytes are counted as costs count them,
//! four to a real, in f64 too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::buffer::{Cost, Element};
use crate::device::{Backend, DeviceError, HostData};
use crate::kernels::Activation;
use crate::kernels::activation::Forward;
use crate::kernels::gemm::Gemm;
use crate::kernels::host::Team;
use crate::kernels::parallel;
use crate::plan::PlanBuilder;

/// Bytes that the copies touch, ascending: from a core's own cache to main memory.
const TOUCHED: [u64; 6] = [128 << 10, 512 << 10, 2 << 20, 8 << 20, 32 << 20, 128 << 20];

/// What a device can do at best.
#[derive(Clone, Debug, Serialize)]
pub struct Ceilings {
    /// FLOP/s of a large square matrix product.
    pub gemm: f64,
    /// Copies, ascending by size.
    pub copies: Vec<CopyRate>,
}

/// How fast a copy of one size is.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CopyRate {
    /// Bytes touched, read and written.
    pub bytes: u64,
    /// Bytes touched per second.
    pub rate: f64,
}

impl Ceilings {
    /// Measures a device that does nothing else meanwhile; takes about half a second.
    pub fn measure(backend: &Backend) -> Result<Ceilings, DeviceError> {
        let n = match backend {
            Backend::Gpu(context) if context.is_software() => 256,
            Backend::Gpu(_) => 4096,
            _ => 1024,
        };
        let mut plan = PlanBuilder::new();
        let [a, b, y] =
            ["a", "b", "y"].map(|name| plan.persistent(name, Element::Real, n * n).matrix(n, n));
        let longest = TOUCHED[TOUCHED.len() - 1] as usize / 8;
        let [source, target] =
            ["source", "target"].map(|name| plan.persistent(name, Element::Real, longest));

        let product = plan.begin("product");
        plan.launch("product", Gemm::new(a, b, y));
        let copies = TOUCHED.map(|bytes| {
            let routine = plan.begin(format!("copy of {bytes} bytes"));
            let len = bytes as usize / 8;
            let copy = Forward {
                x: source.part(0, len),
                y: target.part(0, len),
                activation: Activation::Identity,
            };
            plan.launch("copy", copy);
            (bytes, routine)
        });
        let plan = Arc::new(plan.finish(u64::MAX).expect("there is no limit"));

        let mut device = backend.load(plan.clone())?;
        // Memory that was never written may all be one and the same page of zeros.
        let values: Vec<f32> = (0..longest.max(n * n)).map(|i| (i % 251) as f32).collect();
        for view in [a.view, b.view, source] {
            device.write(view, HostData::Real(&values[..view.len]))?;
        }
        let mut rate = |routine, amount: u64| -> Result<f64, DeviceError> {
            let seconds = best_seconds(|times| {
                device.run(routine, times)?;
                device.wait()
            })?;
            Ok(amount as f64 / seconds)
        };
        let mut ceilings = Ceilings {
            gemm: rate(product, plan.cost(product).flops)?,
            copies: Vec::new(),
        };
        for (bytes, routine) in copies {
            let rate = rate(routine, bytes)?;
            ceilings.copies.push(CopyRate { bytes, rate });
        }
        if let Some(team) = backend.team() {
            let largest = ceilings.copies.last_mut().expect("there are some");
            let streamed = streaming_rate(team, &values)?;
            largest.rate = largest.rate.max(streamed);
        }
        Ok(ceilings)
    }

    /// Bytes per second of a copy that touches as many bytes, or as many more as were measured.
    pub fn copy_rate(&self, bytes: u64) -> f64 {
        let larger = self.copies.iter().find(|copy| copy.bytes >= bytes);
        larger.or(self.copies.last()).map_or(0.0, |copy| copy.rate)
    }

    /// Seconds that a launch of this cost takes at least.
    pub fn floor(&self, cost: Cost) -> f64 {
        let arithmetic = cost.flops as f64 / self.gemm;
        let traffic = cost.bytes() as f64 / self.copy_rate(cost.bytes());
        arithmetic.max(traffic)
    }
}

/// Seconds of one run: the best of several samples, each of many runs at once, so that neither the
/// clock nor handing over the work counts. `run` runs so many times and waits.
fn best_seconds(mut run: impl FnMut(usize) -> Result<(), DeviceError>) -> Result<f64, DeviceError> {
    const SAMPLE: f64 = 8e-3;
    const ALL: Duration = Duration::from_millis(50);
    const FEWEST: usize = 3;
    let mut sample = |times: usize| -> Result<f64, DeviceError> {
        let began = Instant::now();
        run(times)?;
        Ok(began.elapsed().as_secs_f64())
    };
    sample(1)?; // touches the memory for the first time
    let mut times = 1;
    let mut best = sample(times)?;
    while best < SAMPLE {
        times *= 2;
        best = sample(times)?;
    }
    let began = Instant::now();
    let mut taken = 0;
    while taken < FEWEST || began.elapsed() < ALL {
        best = best.min(sample(times)?);
        taken += 1;
    }
    Ok(best / times as f64)
}

/// Bytes touched per second by a copy of `x` on a CPU's threads whose stores bypass the caches. A
/// store to memory that no cache holds would else read it first: traffic that in-place updates
/// do not have, and that a copy need not have.
fn streaming_rate(team: &Team, x: &[f32]) -> Result<f64, DeviceError> {
    let mut y = vec![1.0; x.len()];
    let seconds = best_seconds(|times| {
        for _ in 0..times {
            parallel::chunks(team, &mut y, 1, |first, y| {
                stream(&x[first..][..y.len()], y)
            });
        }
        Ok(())
    })?;
    Ok(2.0 * size_of_val(x) as f64 / seconds)
}

/// `y = x`, with streaming stores.
#[cfg(target_arch = "x86_64")]
fn stream(x: &[f32], y: &mut [f32]) {
    use std::arch::x86_64::{__m128, _mm_loadu_ps, _mm_sfence, _mm_stream_ps};
    // SAFETY: any four floats are such a vector.
    let (head, vectors, tail) = unsafe { y.align_to_mut::<__m128>() };
    let (before, x) = x.split_at(head.len());
    let (x, after) = x.split_at(4 * vectors.len());
    head.copy_from_slice(before);
    tail.copy_from_slice(after);
    for (y, x) in vectors.iter_mut().zip(x.chunks_exact(4)) {
        // SAFETY: x has four floats, and y is an aligned vector of as many.
        unsafe { _mm_stream_ps(std::ptr::from_mut(y).cast(), _mm_loadu_ps(x.as_ptr())) };
    }
    // SAFETY: every x86-64 has it. It makes the stores visible before other threads are told.
    unsafe { _mm_sfence() };
}

#[cfg(not(target_arch = "x86_64"))]
fn stream(x: &[f32], y: &mut [f32]) {
    y.copy_from_slice(x);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::any_gpu;
    use crate::device::cpu::Cpu;
    use crate::device::gpu::GpuOptions;

    fn known() -> Ceilings {
        let copies = [(1000, 100.0), (8000, 50.0)];
        Ceilings {
            gemm: 1000.0,
            copies: copies
                .map(|(bytes, rate)| CopyRate { bytes, rate })
                .to_vec(),
        }
    }

    #[test]
    fn a_copy_is_judged_by_the_next_larger_that_was_measured() {
        let rates = [0, 1000, 1001, 8000, 1 << 40].map(|bytes| known().copy_rate(bytes));
        assert_eq!(rates, [100.0, 100.0, 50.0, 50.0, 50.0]);
    }

    #[test]
    fn the_floor_is_that_of_the_scarcer_resource() {
        let cost = |flops, read, written| Cost {
            flops,
            read,
            written,
        };
        assert_eq!(known().floor(cost(5000, 100, 100)), 5.0); // arithmetic; traffic takes 2 s
        assert_eq!(known().floor(cost(5000, 400, 400)), 8.0); // traffic at 100 bytes/s
        assert_eq!(known().floor(cost(0, 1000, 1000)), 40.0); // traffic at 50 bytes/s
        assert_eq!(known().floor(Cost::default()), 0.0);
    }

    #[test]
    fn streaming_stores_copy_whatever_the_alignment() {
        let x: Vec<f32> = (0..100).map(|i| i as f32).collect();
        for (from, to, len) in [(0, 0, 64), (1, 0, 37), (0, 1, 37), (3, 2, 90), (5, 5, 3)] {
            let mut y = [-1.0; 100];
            stream(&x[from..][..len], &mut y[to..][..len]);
            assert_eq!(y[to..][..len], x[from..][..len]);
            let others = y[..to].iter().chain(&y[to + len..]);
            assert!(others.copied().all(|y| y == -1.0));
        }
    }

    #[test]
    fn every_device_can_be_measured() {
        let mut backends = vec![Backend::Cpu(Cpu::<f32>::team(0).expect("threads"))];
        backends.extend(
            any_gpu(GpuOptions::default())
                .expect("opens")
                .map(Backend::Gpu),
        );
        for backend in backends {
            let ceilings = Ceilings::measure(&backend).expect("runs");
            println!("{:?}: {ceilings:?}", backend.info());
            // Slower than any machine of this century, faster than any of the next few years.
            assert!((1e8..1e16).contains(&ceilings.gemm));
            assert_eq!(ceilings.copies.len(), TOUCHED.len());
            for copy in ceilings.copies {
                assert!((1e7..1e15).contains(&copy.rate), "{copy:?}");
            }
        }
    }
}
