//! `diabolo bench`

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use comfy_table::presets::ASCII_MARKDOWN;

use diabolo::bench::kernels::kernels;
use diabolo::bench::knn::knn;
use diabolo::bench::ladder::{ladder, left_out};
use diabolo::bench::step::{Crossover, crossovers, step};
use diabolo::bench::{Effort, Machine, Row, WORKLOADS};
use diabolo::data::{mnist, npy};
use diabolo::device::{Backend, Choice, select};
use diabolo::files::write_atomically;
use diabolo::machine::processor;
use diabolo::report::benchmarks::{draw_rates, draw_steps};

use super::say::say;
use super::{Done, Failure, Usage, print, progress, refuse_unwritable, table};

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo bench                        a quick look at everything
  diabolo bench step --batch 1,16,128  training steps of both workloads
  diabolo bench step --device cpu,gpu  from which batch on is a GPU faster?
  diabolo bench kernels --workload conv --threads 1
  diabolo bench ladder --size 512,1024 --out charts
  diabolo bench knn --references 10000 --json

The workloads are the recipes reference-dense and reference-conv on MNIST. Contestants take turns, round \
by round; medians are over the rounds. The ceiling is the larger of two times: the arithmetic at the \
rate of a large matrix product and the memory traffic at the rate of a copy, both measured on the \
device when the command starts.

On a GPU, a step's time is also told apart: uploading a batch of images (which training does once for \
all), recording and submitting (the host's), computing, and reading the loss back.

JSON and CSV have one row for each result: workload, kernel, device, batch, median_ms, min_ms, gflops, \
gbytes_per_s, pct_of_ceiling, and more.")]
pub struct Options {
    /// What to time [default: every subject, in fewer rounds]
    subject: Option<Subject>,
    /// cpu, gpu, or part of an adapter's name; several are compared. Without it the CPU, and a GPU if
    /// there is a real one
    #[arg(long = "device", value_name = "DEVICE", value_delimiter = ',')]
    devices: Vec<Choice>,
    /// CPU threads; 0 means one per core
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u16).range(..=4096))]
    threads: u16,
    /// dense, conv or both; of `kernels` and `step`
    #[arg(long = "workload", value_name = "NAME", value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// Images in a batch. `step` takes several, and powers of four from 1 to 4096 without it;
    /// `kernels` takes one, and 128 without it
    #[arg(long = "batch", value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=60_000))]
    batches: Vec<u32>,
    /// Sides of the ladder's matrices [default: 256,512,1024]
    #[arg(long = "size", value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=16_384))]
    sizes: Vec<u32>,
    /// Images whose neighbours `knn` finds [default: 10000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    queries: Option<u32>,
    /// Images among which `knn` finds them [default: 60000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    references: Option<u32>,
    /// Also write what `knn` finds into this file: `[queries, 5]`, indices of training images
    #[arg(long, value_name = "FILE.npy")]
    neighbours: Option<PathBuf>,
    /// Samples of each contestant [default: 3 of `knn`; 11 of another subject, or 5 where every subject is timed]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// Print the rows as JSON
    #[arg(long)]
    json: bool,
    /// Also write the rows into this file
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Also draw charts into this folder: kernels.svg, step.svg, knn.svg, ladder.svg
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
    /// Also put the tables into this file, each between its `<!-- bench ladder -->` and
    /// `<!-- end of bench ladder -->`
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// The launches of a training step, each by itself
    Kernels,
    /// Full training steps over batch sizes
    Step,
    /// Exact nearest neighbours of MNIST's test images among its training images
    Knn,
    /// Matrix products from naive to fast
    Ladder,
}

impl Subject {
    const ALL: [Subject; 4] = [Self::Kernels, Self::Step, Self::Knn, Self::Ladder];

    fn name(self) -> &'static str {
        match self {
            Subject::Kernels => "kernels",
            Subject::Step => "step",
            Subject::Knn => "knn",
            Subject::Ladder => "ladder",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Workload {
    Dense,
    Conv,
}

impl Options {
    fn subjects(&self) -> &[Subject] {
        self.subject
            .as_ref()
            .map_or(&Subject::ALL, std::slice::from_ref)
    }

    /// Errors if an option says nothing about what is to be timed.
    fn check(&self) -> Result<(), Usage> {
        use Subject::{Kernels, Knn, Ladder, Step};
        let of: [(&str, bool, &[Subject]); 6] = [
            ("--workload", !self.workloads.is_empty(), &[Kernels, Step]),
            ("--batch", !self.batches.is_empty(), &[Kernels, Step]),
            ("--size", !self.sizes.is_empty(), &[Ladder]),
            ("--queries", self.queries.is_some(), &[Knn]),
            ("--references", self.references.is_some(), &[Knn]),
            ("--neighbours", self.neighbours.is_some(), &[Knn]),
        ];
        let Some(subject) = self.subject else {
            return Ok(());
        };
        for (option, given, subjects) in of {
            if given && !subjects.contains(&subject) {
                let names: Vec<&str> = subjects.iter().map(|subject| subject.name()).collect();
                let message = format!(
                    "{option} is for `bench {}`, not for `bench {}`\nhint: leave {option} out",
                    names.join("` and `bench "),
                    subject.name()
                );
                return Err(Usage(message));
            }
        }
        if subject == Kernels && self.batches.len() > 1 {
            return Err(Usage(
                "`bench kernels` takes one --batch\nhint: --batch 128".to_owned(),
            ));
        }
        Ok(())
    }

    fn workloads(&self) -> Vec<&'static str> {
        let asked = |name: &&str| {
            let workload = match *name {
                "dense" => Workload::Dense,
                _ => Workload::Conv,
            };
            self.workloads.is_empty() || self.workloads.contains(&workload)
        };
        WORKLOADS
            .map(|(name, _)| name)
            .into_iter()
            .filter(asked)
            .collect()
    }

    /// What was asked for, ascending and each once; or else a default, which is shorter where
    /// everything is to be timed.
    fn numbers(&self, asked: &[u32], whole: &[usize], quick: &[usize]) -> Vec<usize> {
        let mut numbers: Vec<usize> = match (asked, self.subject) {
            ([], Some(_)) => whole.to_vec(),
            ([], None) => quick.to_vec(),
            (asked, _) => asked.iter().map(|&number| number as usize).collect(),
        };
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    fn effort(&self, subject: Subject) -> Effort {
        let rounds = match (self.rounds, self.subject, subject) {
            (Some(rounds), ..) => usize::from(rounds),
            (None, _, Subject::Knn) => 3,
            (None, None, _) => 5,
            (None, Some(_), _) => 11,
        };
        let burst = match subject {
            Subject::Kernels => 5,
            Subject::Step | Subject::Ladder => 30,
            Subject::Knn => 1,
        };
        Effort {
            rounds,
            burst: Duration::from_millis(burst),
        }
    }

    /// Opens the devices and measures their ceilings.
    fn machines(&self) -> Result<Vec<Machine>, Failure> {
        let mut backends = Vec::new();
        for choice in &self.devices {
            let selected = select(choice, self.threads.into())?;
            say(format!("device: {}", selected.reason));
            backends.push(selected.backend);
        }
        if self.devices.is_empty() {
            backends.push(select(&Choice::Cpu, self.threads.into())?.backend);
            let selected = select(&Choice::Auto, self.threads.into())?;
            say(format!("device: {}", selected.reason));
            if matches!(selected.backend, Backend::Gpu(_)) {
                backends.push(selected.backend);
            }
        }
        let mut machines: Vec<Machine> = Vec::new();
        for backend in backends {
            let machine = Machine::new(backend)?;
            let known = |other: &Machine| other.name == machine.name;
            if !machines.iter().any(known) {
                say(describe(&machine));
                machines.push(machine);
            }
        }
        Ok(machines)
    }

    /// Errors if a result will have no place.
    fn check_places(&self) -> Result<(), Failure> {
        if let Some(folder) = &self.out {
            let failed = |error| format!("cannot make the folder {}: {error}", folder.display());
            fs::create_dir_all(folder).map_err(failed)?;
            for &subject in self.subjects() {
                refuse_unwritable(&chart_path(subject, folder), self.force)?;
            }
        }
        for path in [&self.csv, &self.neighbours].into_iter().flatten() {
            refuse_unwritable(path, self.force)?;
        }
        if let Some(path) = &self.markdown {
            let text = read_text(path)?;
            for subject in self.subjects() {
                place_of(&text, subject.name(), path)?;
            }
        }
        Ok(())
    }
}

fn chart_path(subject: Subject, folder: &Path) -> PathBuf {
    folder.join(format!("{}.svg", subject.name()))
}

fn describe(machine: &Machine) -> String {
    let ceilings = &machine.ceilings;
    let memory = ceilings.copy_rate(u64::MAX);
    let name = match machine.backend.info().threads {
        0 => machine.name.clone(),
        threads => format!("{}, {} ({threads} threads)", machine.name, processor()),
    };
    format!(
        "{name}: a large matrix product {:.0} GFLOP/s, a large copy {:.0} GB/s",
        ceilings.gemm / 1e9,
        memory / 1e9
    )
}

pub fn bench(options: &Options) -> Result<Done, Failure> {
    options.check()?;
    options.check_places()?;
    let machines = options.machines()?;
    let mut all = Vec::new();
    for &subject in options.subjects() {
        let bar = progress::bar(subject.name(), 1000);
        let mut tell = |part: f64| bar.set_position((1000.0 * part) as u64);
        let (rows, notes) = measure(subject, options, &machines, &mut tell)?;
        bar.finish_and_clear();
        if !options.json && !rows.is_empty() {
            print(table::benchmarks(&rows, false))?;
            print(table::BENCHMARKS_LEGEND)?;
        }
        for note in notes {
            match options.json {
                true => say(note),
                false => print(note)?,
            }
        }
        if let Some(folder) = &options.out {
            draw(subject, &rows, folder)?;
        }
        if let Some(path) = &options.markdown {
            insert(subject, &rows, &machines, path)?;
        }
        all.extend(rows);
    }
    if options.json {
        print(serde_json::to_string_pretty(&all)?)?;
    }
    if let Some(path) = &options.csv {
        write_atomically(path, |writer| {
            let mut writer = csv::Writer::from_writer(writer);
            all.iter().try_for_each(|row| writer.serialize(row))?;
            writer.flush()
        })?;
    }
    Ok(Done::Fully)
}

/// Times one subject. Returns its rows and what is to be said of them.
fn measure(
    subject: Subject,
    options: &Options,
    machines: &[Machine],
    progress: &mut dyn FnMut(f64),
) -> Result<(Vec<Row>, Vec<String>), Failure> {
    let effort = options.effort(subject);
    let workloads = options.workloads();
    let mut notes = Vec::new();
    let rows = match subject {
        Subject::Kernels => {
            let images = mnist::load()?.train;
            let batch = options.numbers(&options.batches, &[128], &[128])[0];
            kernels(machines, &workloads, batch, &images, effort, progress)?
        }
        Subject::Step => {
            let images = mnist::load()?.train;
            let powers = [1, 4, 16, 64, 128, 256, 1024, 4096];
            let batches = options.numbers(&options.batches, &powers, &[1, 16, 128, 1024]);
            let steps = step(machines, &workloads, &batches, &images, effort, progress)?;
            if batches[0] == 1 {
                notes.push(
                    "batch 1 is timed for its latency; it learns nothing, for one image has no variance \
                     to normalise by (recipes ask for two)"
                        .to_owned(),
                );
            }
            notes.extend(
                steps
                    .skipped
                    .iter()
                    .map(|why| format!("not measured: {why}")),
            );
            notes.extend(crossovers(&steps.rows).iter().map(tell_crossover));
            steps.rows
        }
        Subject::Knn => {
            let mut data = mnist::load()?;
            let count = |asked: Option<u32>, whole, quick| {
                options.numbers(asked.as_slice(), &[whole], &[quick])[0]
            };
            data.truncate(
                count(options.references, 60_000, 60_000),
                count(options.queries, 10_000, 1_000),
            );
            let found = knn(machines, &data.test, &data.train, effort, progress)?;
            if let Some(path) = &options.neighbours {
                let indices: Vec<f32> = found.neighbours.iter().map(|&i| i as f32).collect();
                let queries = data.test.count;
                npy::write_matrix(path, queries, indices.len() / queries, &indices)?;
            }
            found.rows
        }
        Subject::Ladder => {
            let sizes = options.numbers(&options.sizes, &[256, 512, 1024], &[256, 512]);
            notes.extend(left_out(machines));
            ladder(machines, &sizes, effort, progress)?
        }
    };
    Ok((rows, notes))
}

fn tell_crossover(crossover: &Crossover) -> String {
    let Crossover {
        workload,
        gpu,
        batch,
        compared,
    } = crossover;
    let (least, most) = (compared[0], compared[compared.len() - 1]);
    match *batch {
        None => format!("{workload}: at batch {most} the CPU is still faster than {gpu}"),
        Some(batch) if batch == least => {
            format!("{workload}: {gpu} is faster than the CPU from the smallest batch on, {least}")
        }
        Some(batch) => {
            format!(
                "{workload}: crossover at batch {batch}: from there on {gpu} is faster than the CPU"
            )
        }
    }
}

/// A subject's chart.
fn draw(subject: Subject, rows: &[Row], folder: &Path) -> Result<(), Failure> {
    let path = chart_path(subject, folder);
    let is_product = |row: &&Row| row.kernel == "gemm" || row.kernel.starts_with("conv2d");
    let (title, rows) = match subject {
        Subject::Kernels => {
            let products = rows.iter().filter(is_product).cloned().collect();
            ("Matrix products and convolutions of a step", products)
        }
        Subject::Knn => ("Exact nearest neighbours", rows.to_vec()),
        Subject::Ladder => ("The ladder of matrix products", rows.to_vec()),
        Subject::Step => ("", rows.to_vec()),
    };
    if rows.is_empty() {
        return Ok(()); // nothing fitted any device, which was said
    }
    match subject {
        Subject::Step => draw_steps(&rows, &path)?,
        _ => draw_rates(title, &rows, &path)?,
    }
    say(format!("drawn in {}", path.display()));
    Ok(())
}

fn read_text(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()).into())
}

/// Where a subject's table stands in a text: the bytes between its two markers.
fn place_of(text: &str, name: &str, path: &Path) -> Result<std::ops::Range<usize>, Failure> {
    let [begin, end] = [
        format!("<!-- bench {name} -->"),
        format!("<!-- end of bench {name} -->"),
    ];
    let range = text.find(&begin).and_then(|at| {
        let start = at + begin.len();
        Some(start..start + text[start..].find(&end)?)
    });
    range.ok_or_else(|| {
        let path = path.display();
        format!("{path} has no place for the table: a line `{begin}` and, below it, one `{end}`")
            .into()
    })
}

/// Puts a subject's table between its markers.
fn insert(
    subject: Subject,
    rows: &[Row],
    machines: &[Machine],
    path: &Path,
) -> Result<(), Failure> {
    let name = subject.name();
    let mut text = read_text(path)?;
    let place = place_of(&text, name, path)?;
    let mut table = table::benchmarks(rows, true);
    table.load_style(ASCII_MARKDOWN);
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    let machines: Vec<String> = machines
        .iter()
        .map(|machine| format!("- {}", describe(machine)))
        .collect();
    let section = format!(
        "\n{table}\n\nWritten by `diabolo bench {name} --markdown`, on\n\n{}\n",
        machines.join("\n")
    );
    text.replace_range(place, &section);
    write_atomically(path, |writer| writer.write_all(text.as_bytes()))?;
    Ok(())
}
