//! Documents tell the truth: what is made from the code is as the code would make it now, figures are those
//! of a run whose summary is kept, and every command works.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Documents with commands and figures.
const DOCUMENTS: [&str; 12] = [
    "README.md",
    "docs/tour.md",
    "docs/recipes.md",
    "docs/judging.md",
    "docs/data.md",
    "docs/plan.md",
    "docs/numerics.md",
    "docs/cpu.md",
    "docs/gpu.md",
    "docs/pytorch.md",
    "docs/performance.md",
    "CONTRIBUTING.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(document: &str) -> String {
    let path = root().join(document);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{document}: {error}"))
}

#[test]
fn the_reference_of_recipes_is_made_from_the_types_that_they_are_read_into() {
    assert!(
        read("docs/recipes.md") == diabolo::recipe::reference(),
        "docs/recipes.md is stale: `diabolo recipes explain --markdown > docs/recipes.md` makes it anew"
    );
}

/// The few-label results of runs, by 1-NN and cosine distance, as a table. Each run's `summary.json` lies in
/// `docs/results/`.
fn few_label(runs: &[&str]) -> String {
    let rows = |run: &str| -> Vec<Value> {
        let text = read(&format!("docs/results/{run}.json"));
        let summary: Value = serde_json::from_str(&text).expect("JSON");
        let rows = summary["few_label"].as_array().expect("rows").clone();
        let of_judge = rows
            .into_iter()
            .filter(|row| row["judge"] == "knn-1-cosine");
        of_judge.collect()
    };
    let percent = |value: &Value| 100.0 * value.as_f64().expect("a number");
    let spread = |row: &Value| format!("{:.1} ± {:.1}", percent(&row["mean"]), percent(&row["sd"]));
    let first = rows(runs[0]);
    let of = |representation: &str, row: &&Value| row["representation"] == representation;
    let mut table = "| labels | pixels |".to_owned();
    for run in runs {
        let (recipe, _) = run.rsplit_once('-').expect("a seed");
        table += &format!(" `{recipe}` | gain over pixels |");
    }
    table += &format!("\n|---:|---:|{}\n", "---:|---:|".repeat(runs.len()));
    for pixels in first
        .iter()
        .filter(|row| of("pixels", row) && row["draws"] != 1)
    {
        table += &format!("| {} | {} |", pixels["labels"], spread(pixels));
        for run in runs {
            let rows = rows(run);
            let mut rows = rows.iter().filter(|row| of("features", row));
            let row = rows
                .find(|row| row["labels"] == pixels["labels"])
                .expect("as many");
            let [low, high] = [0, 1].map(|end| percent(&row["gain"]["ci95"][end]));
            let gain = percent(&row["gain"]["mean"]);
            table += &format!(
                " **{}** | {gain:+.2} ({low:+.2} … {high:+.2}) |",
                spread(row)
            );
        }
        table += "\n";
    }
    table
}

/// Replaces what stands between each marker `<!-- few-label RUN … -->` and the next `<!-- end -->`.
fn with_figures(text: &str) -> String {
    const BEGIN: &str = "<!-- few-label ";
    const END: &str = "<!-- end -->";
    let mut parts = text.split(BEGIN);
    let mut made = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (runs, rest) = part.split_once(" -->\n").expect("a marker");
        let (_, rest) = rest.split_once(END).expect("an end");
        let table = few_label(&runs.split(' ').collect::<Vec<_>>());
        made += &format!("{BEGIN}{runs} -->\n{table}{END}{rest}");
    }
    made
}

#[test]
fn figures_are_those_of_the_runs_whose_summaries_are_kept() {
    let update = std::env::var_os("DIABOLO_UPDATE_DOCUMENTS").is_some();
    let mut tables = 0;
    for document in DOCUMENTS {
        let text = read(document);
        let made = with_figures(&text);
        tables += text.matches("<!-- few-label ").count();
        if update {
            std::fs::write(root().join(document), &made).expect("written");
        }
        assert!(
            update || made == text,
            "{document} is stale: `DIABOLO_UPDATE_DOCUMENTS=1 cargo test --release --test it documents::` \
             makes its tables anew"
        );
    }
    assert!(tables > 0, "no document has a table");
}

/// A block of commands, and what the document says that they print.
#[derive(Debug, Default, PartialEq)]
struct Block {
    /// The lines of a block ```sh, each with its number.
    commands: Vec<(usize, String)>,
    /// The lines of the block ```text that follows it, if one does, each with its number.
    output: Vec<(usize, String)>,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut fence = None;
    let mut follows = false;
    for (number, line) in text.lines().enumerate() {
        let numbered = (number + 1, line.to_owned());
        match (fence, line.trim()) {
            (Some(_), "```") => fence = None,
            (Some("```sh"), line) if !line.is_empty() => {
                let block = blocks.last_mut().expect("a block has begun");
                block.commands.push((number + 1, line.to_owned()));
            }
            (Some("```text"), _) if follows => {
                blocks
                    .last_mut()
                    .expect("a block before")
                    .output
                    .push(numbered);
            }
            (Some(_), _) => {}
            (None, "```sh") => {
                blocks.push(Block::default());
                (fence, follows) = (Some("```sh"), true);
            }
            (None, "```text") => fence = Some("```text"),
            (None, line) if line.starts_with("```") => (fence, follows) = (Some("```"), false),
            (None, line) => follows &= line.is_empty(),
        }
    }
    blocks
}

/// The first line of a document's output that a program did not print, in this order. `…` stands for anything.
fn not_printed<'a>(expected: &'a [(usize, String)], printed: &str) -> Option<&'a (usize, String)> {
    let is = |pattern: &str, line: &str| {
        let mut rest = line;
        pattern.split('…').map(str::trim).all(|piece| {
            let found = rest.find(piece);
            rest = found.map_or("", |at| &rest[at + piece.len()..]);
            found.is_some()
        })
    };
    let mut lines = printed.lines();
    expected
        .iter()
        .find(|(_, pattern)| !lines.any(|line| is(pattern, line)))
}

/// A command as it is run here: training takes one epoch and few draws, whatever the document says.
fn shortened(command: &str) -> String {
    let command = command.split(" #").next().unwrap_or_default();
    let mut command = command.trim_end().to_owned();
    if command.starts_with("diabolo run ") {
        for (option, value) in [("--epochs", "1"), ("--labels", "100"), ("--draws", "2")] {
            let is_given = command.contains(option);
            if !is_given {
                command += &format!(" {option} {value}");
            }
        }
        command += " --device cpu";
    }
    command
}

#[test]
fn every_command_of_every_document_works() {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_diabolo"));
    let (mut count, mut outputs) = (0, 0);
    for document in DOCUMENTS {
        // The commands of a document follow on one another.
        let folder = tempfile::tempdir().expect("a temporary folder");
        for block in blocks(&read(document)) {
            let mut printed = String::new();
            for (line, command) in &block.commands {
                if command.starts_with("cargo ") {
                    continue; // what builds and tests the project is what runs this test
                }
                assert!(
                    command.starts_with("diabolo ") || command.starts_with("printf "),
                    "{document}:{line}: a command of something else: {command}"
                );
                let folder_of_program = program.parent().expect("a folder");
                let path = std::env::var("PATH").expect("a path");
                let output = Command::new("sh")
                    .args(["-c", &shortened(command)])
                    .current_dir(folder.path())
                    .env("PATH", format!("{}:{path}", folder_of_program.display()))
                    .output()
                    .expect("a shell");
                let said = String::from_utf8_lossy(&output.stderr);
                assert_eq!(
                    output.status.success(),
                    !command.contains("# ends with an error"),
                    "{document}:{line}: {command}\n{said}"
                );
                // What is done is said before its results are printed.
                printed += &said;
                printed += &String::from_utf8_lossy(&output.stdout);
                count += 1;
            }
            if let Some((line, missing)) = not_printed(&block.output, &printed) {
                panic!("{document}:{line}: `{missing}` is not in\n{printed}");
            }
            outputs += usize::from(!block.output.is_empty());
        }
    }
    println!("{count} commands of documents run, {outputs} outputs compared");
    assert!(
        count > 20 && outputs > 5,
        "{count} and {outputs} alone were found"
    );
}

#[test]
fn links_between_documents_lead_to_files() {
    for document in DOCUMENTS {
        let text = read(document);
        let folder = root().join(document).parent().expect("a folder").to_owned();
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap_or_default();
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            assert!(
                folder.join(file).exists(),
                "{document}: {link} leads nowhere"
            );
        }
    }
}

#[test]
fn a_stale_figure_and_a_command_that_fails_are_found() {
    let text = "a\n<!-- few-label mnist-dense-0 -->\n| 93.1 |\n<!-- end -->\nb\n";
    let made = with_figures(text);
    assert_ne!(made, text);
    assert_eq!(with_figures(&made), made);
    let text = "```sh\ndiabolo run x   # why\n\n```\n\n```text\nan output\n```\n\n```text\nno output\n```\n";
    let [block] = &blocks(&text.replace("\n\n```text\nno", "\nwords\n```text\nno"))[..] else {
        panic!("one block");
    };
    assert_eq!(block.commands, [(2, "diabolo run x   # why".to_owned())]);
    assert_eq!(block.output, [(7, "an output".to_owned())]);

    let expected = [(1, "a … c".to_owned()), (2, "d".to_owned())];
    assert_eq!(not_printed(&expected, "x\n  a bb c\nd 1\n"), None);
    assert_eq!(not_printed(&expected, "d\na b c\n"), Some(&expected[1]));
    assert_eq!(not_printed(&expected, "c b a\nd\n"), Some(&expected[0]));
    let short = shortened("diabolo run x --epochs 3   # why");
    assert_eq!(
        short,
        "diabolo run x --epochs 3 --labels 100 --draws 2 --device cpu"
    );
}
