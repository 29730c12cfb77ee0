//! The dense training step of the reference workload, on the CPU in f32: 784-512-256-64 and its
//! mirror, batch 128, Gaussian noise σ 0.5, Adam.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use diabolo::data::{Images, Pixels};
use diabolo::device::Backend;
use diabolo::device::cpu::Cpu;
use diabolo::recipe::Recipe;
use diabolo::train::Trainer;

fn dense_step(criterion: &mut Criterion) {
    let recipe = Recipe::load("reference-dense").expect("built in");
    let batch = recipe.train.batch;
    // One step per epoch: the same step over and over, as long as criterion asks.
    let images = Images {
        count: batch,
        height: 28,
        width: 28,
        channels: 1,
        pixels: Pixels::Bytes((0..batch * 784).map(|i| (i * 31 % 256) as u8).collect()),
    };
    let mut group = criterion.benchmark_group("train step");
    group.throughput(Throughput::Elements(batch as u64));
    for threads in [1, 0] {
        let backend = Backend::Cpu(Cpu::<f32>::pool(threads).expect("threads"));
        let mut trainer =
            Trainer::new(&recipe, &images, &images, &backend, None).expect("fits in memory");
        let (train, clock) = (trainer.program().train, trainer.program().clock);
        let name = match threads {
            0 => "dense, f32, all cores",
            _ => "dense, f32, one core",
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

criterion_group!(benches, dense_step);
criterion_main!(benches);
