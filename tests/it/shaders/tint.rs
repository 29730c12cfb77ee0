//! Chrome's compiler, tint, accepts every shader too: it wants proof that all threads meet at a
//! barrier, where naga takes the author's word.
//!
//! A headless Chromium opens a page that compiles the texts and sends back what tint has against
//! them. Its GPU is one in software, so there need not be any.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::validate;
use super::variants::texts;

/// Longer than any machine should take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Each text's errors, or why the page has none to give.
type Report = Result<Vec<Vec<String>>, String>;

#[test]
fn tint_accepts_every_shader_in_every_variant() {
    let texts = texts();
    let sources: Vec<String> = texts
        .iter()
        .map(|text| match text.shader {
            // WGSL asks for this line, and naga, which the GPU's texts go through, knows it only to
            // refuse it. What follows it is the text as it is.
            "gemm_ladder/subgroup" => format!("enable subgroups;\n{}", text.source),
            _ => text.source.clone(),
        })
        .collect();
    let Some(errors) = errors(&sources) else {
        return;
    };
    let refused: Vec<String> = texts
        .iter()
        .zip(&errors)
        .filter(|(_, errors)| !errors.is_empty())
        .map(|(text, errors)| format!("{}{}: {}", text.shader, text.variant, errors.join("\n")))
        .collect();
    println!("{} texts, {} refused", texts.len(), refused.len());
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

/// Without this, a check that finds nothing could be one that does not look.
#[test]
fn tint_refuses_a_barrier_that_some_threads_may_miss() {
    let shader = |bound: &str| {
        format!(
            "var<private> count: u32;
            @compute @workgroup_size(64)
            fn main(@builtin(workgroup_id) group: vec3<u32>) {{
                count = group.x;
                for (var i = 0u; i < {bound}; i++) {{
                    workgroupBarrier();
                }}
            }}"
        )
    };
    let (bad, good) = (shader("count"), shader("group.x"));
    validate("naga does not mind", &bad);
    let Some(errors) = errors(&[good, bad]) else {
        return;
    };
    assert!(errors[0].is_empty(), "{:?}", errors[0]);
    let error = errors[1].join("\n");
    assert!(error.contains("uniform control flow"), "{error}");
}

/// What tint has against each text. None, with a word on it, where there is no Chromium: a failure
/// only where `DIABOLO_REQUIRE_CHROMIUM` asks for one.
fn errors(texts: &[String]) -> Option<Vec<Vec<String>>> {
    let json = serde_json::to_string(texts).expect("strings");
    // So that no shader can end the script it stands in.
    let json = json.replace('<', "\\u003c");
    let page = include_str!("tint.html").replacen("= TEXTS", &format!("= {json}"), 1);
    let (address, reports) = serve(page).expect("a free port");

    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let chromium = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-dev-shm-usage"])
        .args(["--no-first-run", "--disable-background-networking"])
        .args(["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"])
        .arg(format!("--user-data-dir={}", folder.path().display()))
        .arg(address)
        .stdout(Stdio::null())
        .stderr(File::create(&log).expect("a new file"))
        .spawn();
    let mut chromium = match chromium {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            assert!(
                std::env::var_os("DIABOLO_REQUIRE_CHROMIUM").is_none(),
                "DIABOLO_REQUIRE_CHROMIUM is set, and there is no Chromium"
            );
            println!("skipped: no Chromium");
            return None;
        }
        chromium => chromium.expect("starts"),
    };

    let start = Instant::now();
    let report = loop {
        match reports.recv_timeout(Duration::from_millis(100)) {
            Ok(report) => break report,
            Err(RecvTimeoutError::Disconnected) => break Err("the server ended".to_owned()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(status) = chromium.try_wait().expect("a child") {
            break Err(format!("Chromium ended, {status}"));
        }
        if start.elapsed() > PATIENCE {
            break Err(format!("no report in {PATIENCE:?}"));
        }
    };
    // Ended already, where that was the failure.
    let _ = chromium.kill();
    chromium.wait().expect("a child");

    let errors = report.unwrap_or_else(|why| {
        let log = fs::read_to_string(&log).unwrap_or_default();
        panic!("{why}; Chromium's log:\n{log}")
    });
    assert_eq!(errors.len(), texts.len(), "as many answers as texts");
    Some(errors)
}

/// Serves a page on this machine, WebGPU being for secure addresses only, and receives what the page
/// reports. The threads end with the tests.
fn serve(page: String) -> io::Result<(String, Receiver<Report>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}/", listener.local_addr()?);
    let page = Arc::new(page);
    let (sender, reports) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (page, sender) = (page.clone(), sender.clone());
            // A browser opens connections that it may not use: none must hold up the next.
            std::thread::spawn(move || {
                if let Ok(Some(report)) = answer(&stream, &page) {
                    let report = serde_json::from_str(&report);
                    // No one listens for a second report.
                    let _ = sender.send(report.unwrap_or_else(|error| Err(error.to_string())));
                }
            });
        }
    });
    Ok((address, reports))
}

/// Answers a request with the page. Returns the request's body if it was posted.
fn answer(mut stream: &TcpStream, page: &str) -> io::Result<Option<String>> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut length = 0;
    for header in reader.by_ref().lines() {
        match header?.split_once(": ") {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().map_err(io::Error::other)?;
            }
            Some(_) => {}
        }
    }
    let mut body = String::new();
    reader.take(length).read_to_string(&mut body)?;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close";
    let length = page.len();
    write!(stream, "{head}\r\nContent-Length: {length}\r\n\r\n{page}")?;
    Ok(request.starts_with("POST").then_some(body))
}
