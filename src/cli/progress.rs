//! Progress on standard error: a bar on a terminal, a line per epoch elsewhere.

use std::time::Instant;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use diabolo::train::{EpochRecord, Observer};

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates here are valid")
        .progress_chars("━╸─")
}

/// A bar over `length` units of work.
pub fn bar(what: &str, length: u64) -> ProgressBar {
    let template = "{prefix:>9} {bar:32} {percent:>3} %  ETA {eta}  {msg}";
    let bar = ProgressBar::new(length).with_style(style(template));
    bar.set_prefix(what.to_owned());
    bar
}

/// Shows training.
pub struct TrainingBar {
    bar: ProgressBar,
    epochs: usize,
    steps: usize,
    batch: usize,
    epoch: usize,
    /// When this epoch began here, and at which step.
    began: (Instant, usize),
}

impl TrainingBar {
    /// A bar over epochs of so many steps, of which `done` are behind.
    pub fn new(epochs: usize, steps: usize, batch: usize, done: u64) -> Self {
        let bar = bar("training", (epochs * steps) as u64).with_position(done);
        bar.reset_eta();
        TrainingBar {
            bar,
            epochs,
            steps,
            batch,
            epoch: 0,
            began: (Instant::now(), 0),
        }
    }

    /// Takes the bar off the screen.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for TrainingBar {
    fn epoch_started(&mut self, epoch: usize, position: usize, steps: usize) {
        (self.epoch, self.steps) = (epoch, steps);
        self.began = (Instant::now(), position);
    }

    fn progressed(&mut self, position: usize, loss: f64) {
        let done = (self.epoch - 1) * self.steps + position;
        self.bar.set_position(done as u64);
        let (began, first) = self.began;
        let images = ((position - first) * self.batch) as f64;
        let speed = HumanCount((images / began.elapsed().as_secs_f64()) as u64);
        let (epoch, epochs) = (self.epoch, self.epochs);
        self.bar.set_message(format!(
            "epoch {epoch}/{epochs}  loss {loss:.5}  {speed} images/s"
        ));
    }

    fn epoch_finished(&mut self, record: &EpochRecord) {
        self.bar.set_position((record.epoch * self.steps) as u64);
        let line = format!(
            "epoch {:>3}/{}  loss {:.5}  held-out {:.5}  {:>7} images/s  {:.1} s",
            record.epoch,
            self.epochs,
            record.train_loss,
            record.test_loss,
            HumanCount(record.images_per_second as u64).to_string(),
            record.seconds
        );
        self.bar.suspend(|| eprintln!("{line}"));
    }
}
