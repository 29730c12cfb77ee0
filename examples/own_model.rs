//! How to write a model outside the crate: a denoising autoencoder whose code also tells digits apart, by
//! 200 labels. A step takes rows from two feeds and has two objectives.
//!
//! ```text
//! encoder   x [N, 784] → dense, batch norm, ReLU [N, 512] → dense, batch norm, ReLU [N, 64]
//! decoder   code → dense [N, 784]                    head   code → dense [N, 10]
//!
//! losses    squared error between decoder(encoder(noisy)) and clean, of all images
//!           softmax cross-entropy of head(encoder(noisy)), of the labelled ones
//! ```
//!
//! ```sh
//! cargo run --release --example own_model
//! ```

use std::error::Error;
use std::sync::Arc;

use diabolo::buffer::{Element, Matrix};
use diabolo::data::mnist;
use diabolo::device::cpu::Cpu;
use diabolo::device::{Device, HostData};
use diabolo::emit::{Emission, Emitter, Group, Mode, Optimiser, Parameters};
use diabolo::kernels::clock::Advance;
use diabolo::kernels::gather::Noise;
use diabolo::kernels::loss::Loss;
use diabolo::kernels::random::Streams;
use diabolo::kernels::warp::Warp;
use diabolo::kernels::{Activation, adam};
use diabolo::layers::{BatchNorm, Dense, Layer, Stack};
use diabolo::models::{Batch, Task};
use diabolo::objective::{Per, reconstruction, softmax_cross_entropy};
use diabolo::plan::{Pass, PlanBuilder};
use diabolo::train::{Feed, Source, Weights};

const LABELS: usize = 200;
const STEPS: usize = 2000;
/// Rows a step, of all images and of the labelled ones.
const ROWS: [usize; 2] = [128, 50];
/// Images that are classified at a time.
const BLOCK: usize = 500;
const SEED: u64 = 0;

struct Model {
    encoder: Stack,
    decoder: Dense,
    head: Dense,
    parameters: Parameters,
}

impl Model {
    fn new(plan: &mut PlanBuilder) -> Model {
        let mut p = Parameters::new(plan);
        let mut encoder = Stack::default();
        for (layer, widths) in [[784, 512], [512, 64]].into_iter().enumerate() {
            let name = format!("encoder.{layer}");
            encoder.push(Dense::new(plan, &mut p, &name, widths, 2.0));
            let name = format!("encoder.{layer}.norm");
            let norm = BatchNorm::new(plan, &mut p, &name, widths[1], Activation::Relu);
            encoder.push(norm);
        }
        let mut dense = |name, widths| {
            let dense = Dense::new(plan, &mut p, name, widths, 1.0);
            dense.with_bias(plan, &mut p, Activation::Identity)
        };
        Model {
            encoder,
            decoder: dense("decoder", [64, 784]),
            head: dense("head", [64, 10]),
            parameters: p,
        }
    }

    /// Appends a step: forward, objectives and backward of both feeds, and one update. What the
    /// encoder's weights learn from either is added up.
    fn train(&self, e: &mut Emitter, all: &Batch, labelled: &Batch) {
        let (code, encoder) = self.encoder.forward(e, all.noisy);
        let (y, decoder) = self.decoder.forward(e, code);
        let loss = Loss::MeanSquaredError;
        let dy = reconstruction(e, "reconstruction", loss, Per::Element, y, all.clean);
        let d_code = self.decoder.backward(e, decoder, dy);
        self.encoder.backward(e, encoder, d_code).unused();

        let (code, encoder) = self.encoder.forward(e, labelled.noisy);
        let (logits, head) = self.head.forward(e, code);
        let labels = labelled.labels.expect("its feed has labels");
        let d_logits = softmax_cross_entropy(e, logits, labels);
        let d_code = self.head.backward(e, head, d_logits);
        self.encoder.backward(e, encoder, d_code).unused();

        e.update(&self.parameters);
    }

    /// Appends the way from images to logits.
    fn classify(&self, e: &mut Emitter, x: Matrix) -> Matrix {
        let (code, _) = self.encoder.forward(e, x);
        let (logits, _) = self.head.forward(e, code);
        logits
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let digits = mnist::load()?;
    let (train, test) = (digits.training(), digits.held_out());
    let image = train.images.shape();
    let features = image.features();
    let count = train.images.count;

    // Everything that the device will ever do, written down before it does it.
    let mut emission = Emission::new(PlanBuilder::new(), SEED);
    let plan = &mut emission.plan;
    let model = Model::new(plan);
    let mut indices = |name: &str, len| plan.persistent(name, Element::Index, len);
    let clock = indices("clock", 2);
    let order_of_all = indices("order", STEPS * ROWS[0]);
    let order_of_labelled = indices("order of labelled", STEPS * ROWS[1]);
    let labels = indices("labels", count);
    let images = plan.persistent("images", Element::Byte, count * features);
    let noise = Noise {
        warp: Warp {
            shift: 2.0,
            rotation: 0.03,
            scale: 0.1,
            shear: 0.1,
        },
        gaussian: 0.5,
        masking: 0.0,
        seed: SEED,
        streams: Streams::TRAINING,
    };
    let all = Feed {
        source: Source::Images(images, image),
        labels: None,
        order: order_of_all,
        noise,
    };
    let labelled = Feed {
        labels: Some(labels),
        order: order_of_labelled,
        ..all
    };
    let adam = Optimiser::Adam(adam::Hyperparameters::default());
    let group = Group::new(plan, &model.parameters, adam, STEPS);
    let schedule = group.schedule;
    emission.add_group(group);

    let mut e = emission.begin_step("train", Mode::Training, clock, STEPS);
    let batches = [
        all.batch(&mut e, "all", ROWS[0]),
        labelled.batch(&mut e, "labelled", ROWS[1]),
    ];
    model.train(&mut e, &batches[0], &batches[1]);
    e.at("clock", Pass::Update).launch("", Advance { clock });
    let step = e.end();

    let pixels = emission
        .plan
        .persistent("pixels", Element::Real, BLOCK * features);
    let mut e = emission.begin("classify", Mode::Evaluation);
    let logits = model.classify(&mut e, pixels.matrix(BLOCK, features));
    e.keep(logits.view);
    let classify = e.end().routine;
    let plan = Arc::new(emission.plan.finish(u64::MAX)?);

    // A device, and what it is given once.
    let mut device = Cpu::<f32>::new(plan, Cpu::<f32>::team(0)?);
    let tensors = &model.parameters.tensors;
    let task = Task { image, classes: 10 };
    Weights::initial(tensors, task, SEED).write(tensors, &mut device)?;
    let mut bytes = vec![0; count * features];
    train.images.copy_bytes(0..count, &mut bytes)?;
    device.write(images, HostData::Byte(&bytes))?;
    let of_images: Vec<u32> = train.labels.iter().map(|&label| label.into()).collect();
    device.write(labels, HostData::Index(&of_images))?;
    // Steps of a prime length go through all images; the labelled ones come again and again.
    let order = |len: usize, images: usize| -> Vec<u32> {
        (0..len).map(|i| (i * 7919 % images) as u32).collect()
    };
    device.write(
        order_of_all,
        HostData::Index(&order(STEPS * ROWS[0], count)),
    )?;
    device.write(
        order_of_labelled,
        HostData::Index(&order(STEPS * ROWS[1], LABELS)),
    )?;
    let rates: Vec<f64> = (1..=STEPS as u64)
        .flat_map(|t| adam.schedule_row(t, 1e-3))
        .collect();
    device.write(schedule, HostData::Double(&rates))?;

    device.run(step.routine, STEPS)?;
    for note in &step.notes {
        let values = device.read_real(note.values)?;
        println!(
            "{:<15} {:.4} at first, {:.4} at last",
            note.name,
            values[0],
            values[STEPS - 1]
        );
    }

    let mut wrong = 0;
    for first in (0..test.images.count).step_by(BLOCK) {
        let block = first..first + BLOCK;
        let mut bytes = vec![0; BLOCK * features];
        test.images.copy_bytes(block.clone(), &mut bytes)?;
        let values: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
        device.write(pixels, HostData::Real(&values))?;
        device.run(classify, 1)?;
        let logits = device.read_real(logits.view)?;
        for (logits, &label) in logits.chunks(10).zip(&test.labels[block]) {
            let likeliest = (0..10).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
            wrong += usize::from(likeliest != Some(label.into()));
        }
    }
    let error = 100.0 * wrong as f64 / test.images.count as f64;
    println!("from {LABELS} labels: {error:.1} % of the test images wrong");
    Ok(())
}
