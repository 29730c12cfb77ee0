//! Progress on standard error: a bar on a terminal, a line per epoch elsewhere.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use diabolo::experiment::{Stage, Watch};
use diabolo::train::{EpochRecord, Observer};

use super::Failure;
use super::say::{self, Loudness, complain, detail, say};

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates here are valid")
        .progress_chars("━╸─")
}

/// A bar over `length` units of work.
pub fn bar(what: &str, length: u64) -> ProgressBar {
    let template = "{prefix:>9} {bar:32} {percent:>3} %  ETA {eta}  {msg}";
    let bar = ProgressBar::new(length).with_style(style(template));
    if !say::is_said(Loudness::Usual) {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar.set_prefix(what.to_owned());
    bar
}

/// Units of a bar that shows a part of 1.
const RESOLUTION: f64 = 1000.0;

/// Ctrl-C: the first one raises a flag that the work looks at, a second one ends the program at once.
#[derive(Clone, Copy)]
pub struct Interrupt(());

static RAISED: AtomicBool = AtomicBool::new(false);

impl Interrupt {
    /// Begins to listen, if the program does not already.
    pub fn listen() -> Result<Interrupt, Failure> {
        static LISTENING: OnceLock<()> = OnceLock::new();
        if LISTENING.set(()).is_ok() {
            ctrlc::set_handler(|| {
                if RAISED.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
                complain("\nfinishing the step and saving; Ctrl-C again to leave at once");
            })?;
        }
        Ok(Interrupt(()))
    }

    fn is_raised(self) -> bool {
        RAISED.load(Ordering::Relaxed)
    }
}

/// Shows an experiment, and stops it at Ctrl-C.
pub struct Screen {
    interrupt: Interrupt,
    bar: ProgressBar,
    stage: Stage,
    /// Of training: epochs, steps of each, images of a step.
    extent: [usize; 3],
    epoch: usize,
    /// When this epoch began here, and at which step.
    began: (Instant, usize),
}

impl Screen {
    /// Nothing to show yet.
    pub fn new() -> Result<Screen, Failure> {
        Ok(Screen {
            interrupt: Interrupt::listen()?,
            bar: ProgressBar::hidden(),
            stage: Stage::Reading,
            extent: [0; 3],
            epoch: 0,
            began: (Instant::now(), 0),
        })
    }

    /// The stage that the experiment is in, or was in at last.
    pub fn stage(&self) -> Stage {
        self.stage
    }
}

impl Watch for Screen {
    fn says(&mut self, line: &str) {
        say(line);
    }

    fn stage(&mut self, stage: Stage) {
        self.stage = stage;
        self.bar = match stage {
            Stage::Training {
                epochs,
                steps,
                batch,
                step,
            } => {
                self.extent = [epochs, steps, batch];
                bar(stage.name(), (epochs * steps) as u64).with_position(step)
            }
            _ => bar(stage.name(), RESOLUTION as u64),
        };
        self.bar.reset_eta();
    }

    fn progress(&mut self, done: f64) {
        self.bar.set_position((RESOLUTION * done) as u64);
    }

    fn stage_finished(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Screen {
    fn epoch_started(&mut self, epoch: usize, position: usize, _: usize) {
        self.epoch = epoch;
        self.began = (Instant::now(), position);
    }

    fn progressed(&mut self, position: usize, loss: f64) {
        let [epochs, steps, batch] = self.extent;
        let done = (self.epoch - 1) * steps + position;
        self.bar.set_position(done as u64);
        let (began, first) = self.began;
        let images = ((position - first) * batch) as f64;
        let speed = HumanCount((images / began.elapsed().as_secs_f64()) as u64);
        let epoch = self.epoch;
        self.bar.set_message(format!(
            "epoch {epoch}/{epochs}  loss {loss:.5}  {speed} images/s"
        ));
    }

    fn epoch_finished(&mut self, record: &EpochRecord) {
        let [epochs, steps, _] = self.extent;
        self.bar.set_position((record.epoch * steps) as u64);
        let line = format!(
            "epoch {:>3}/{epochs}  loss {:.5}  held-out {:.5}  {:>7} images/s  {:.1} s",
            record.epoch,
            record.train_loss,
            record.test_loss,
            HumanCount(record.images_per_second as u64).to_string(),
            record.seconds
        );
        self.bar.suspend(|| {
            say(line);
            for (name, trained) in &record.notes.train {
                let held_out = record.notes.held_out.get(name).copied().unwrap_or(f64::NAN);
                detail(format!(
                    "  {name}: training {trained:.6}, held-out {held_out:.6}"
                ));
            }
        });
    }

    fn wants_to_stop(&mut self) -> bool {
        self.interrupt.is_raised()
    }
}
