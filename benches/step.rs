//! The training steps of the reference workloads, on the CPU in f32: batch 128, Gaussian noise σ 0.5,
//! MSE, Adam. The dense model is 784-512-256-64 and its mirror; the convolutional one has 32 and 64
//! maps and a code of 64.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use diabolo::data::{Images, Pixels};
use diabolo::device::Backend;
use diabolo::device::cpu::Cpu;
use diabolo::recipe::Recipe;
use diabolo::train::Trainer;

fn step(criterion: &mut Criterion, model: &str) {
    let recipe = Recipe::load(&format!("reference-{model}")).expect("built in");
    let batch = recipe.train.batch;
    // One step per epoch: the same step over and over, as long as criterion asks.
    let images = Images {
        count: batch,
        height: 28,
        width: 28,
        channels: 1,
        pixels: Pixels::Bytes(std::sync::Arc::new(
            (0..batch * 784).map(|i| (i * 31 % 256) as u8).collect(),
        )),
    };
    let mut group = criterion.benchmark_group("train step");
    group.throughput(Throughput::Elements(batch as u64));
    for threads in [1, 0] {
        let backend = Backend::Cpu(Cpu::<f32>::team(threads).expect("threads"));
        let mut trainer =
            Trainer::new(&recipe, &images, &images, &backend, None).expect("fits in memory");
        let (train, clock) = (trainer.program().train, trainer.program().clock);
        let name = match threads {
            0 => format!("{model}, f32, all cores"),
            _ => format!("{model}, f32, one core"),
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let device = trainer.device();
                device
                    .write(clock, diabolo::device::HostData::Index(&[0, 1]))
                    .expect("fits");
                device.run(train, 1).expect("runs");
            });
        });
    }
    group.finish();
}

fn steps(criterion: &mut Criterion) {
    step(criterion, "dense");
    step(criterion, "conv");
}

criterion_group!(benches, steps);
criterion_main!(benches);
