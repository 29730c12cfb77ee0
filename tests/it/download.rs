//! Downloads from servers that misbehave: whatever happens, only the right file gets its name.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use diabolo::data::DataError;
use diabolo::data::fetch::{Event, Patience, Wanted, fetch};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// What a server sees of a request.
struct Request {
    path: String,
    /// The first byte asked for.
    from: Option<usize>,
}

/// A server on this machine that answers each request with a function and then hangs up.
struct Server {
    address: String,
    /// Each request's path, with `@` and the first byte if it asked for a range.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `answer` also gets the number of requests before. The thread ends with the tests.
    fn new(answer: impl Fn(&Request, usize, &mut TcpStream) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for (index, stream) in listener.incoming().enumerate() {
                let mut stream = stream.expect("a connection");
                let (answer, log) = (answer.clone(), log.clone());
                // One that stalls must not hold up the next.
                std::thread::spawn(move || {
                    let request = read(&stream);
                    let from = request.from.map(|from| format!("@{from}"));
                    let line = format!("{}{}", request.path, from.unwrap_or_default());
                    log.lock().expect("sound").push(line);
                    answer(&request, index, &mut stream);
                });
            }
        });
        Server { address, seen }
    }

    fn url(&self) -> String {
        format!("{}/file", self.address)
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("sound").clone()
    }
}

fn read(stream: &TcpStream) -> Request {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let mut request = Request {
        path: first.split(' ').nth(1).unwrap_or_default().to_owned(),
        from: None,
    };
    for line in lines.take_while(|line| !line.is_empty()) {
        let line = line.to_ascii_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            request.from = range.trim_end_matches('-').parse().ok();
        }
    }
    request
}

/// Sends; a client that has hung up is none of a server's concern.
fn send(stream: &mut TcpStream, head: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
    let _ = stream.flush();
}

fn ok(stream: &mut TcpStream, body: &[u8]) {
    send(
        stream,
        &format!("200 OK\r\nContent-Length: {}", body.len()),
        body,
    );
}

/// The file, or the part that was asked for.
fn honest(request: &Request, stream: &mut TcpStream, body: &[u8]) {
    let Some(from) = request.from else {
        return ok(stream, body);
    };
    let (rest, total) = (&body[from..], body.len());
    let head = format!(
        "206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{total}",
        rest.len(),
        total - 1
    );
    send(stream, &head, rest);
}

/// The file: large enough for many reads.
fn body() -> Vec<u8> {
    (0..300_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

fn wanted(urls: &[String]) -> Wanted {
    let digest = Sha256::digest(body());
    Wanted {
        name: "file".to_owned(),
        bytes: body().len() as u64,
        sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        urls: urls.to_vec(),
    }
}

fn impatient() -> Patience {
    Patience {
        connect: Duration::from_secs(5),
        stall: Duration::from_secs(1),
        pause: Duration::from_millis(1),
        ..Patience::default()
    }
}

fn temporary() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn run(urls: &[String], folder: &Path) -> Result<(), DataError> {
    fetch(&wanted(urls), folder, &impatient(), &mut |_| ()).map(|_| ())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<String> = entries.map(|e| name(e).into_string().unwrap()).collect();
    names.sort();
    names
}

/// The right file is there, under its name, and nothing else.
fn assert_fetched(folder: &Path) {
    assert_eq!(names(folder), ["file"]);
    assert!(fs::read(folder.join("file")).unwrap() == body());
}

/// Fetches, which must fail with all these in its message and leave only these files.
fn assert_fails(urls: &[String], parts: &[&str], left: &[&str]) {
    let folder = temporary();
    let error = run(urls, folder.path()).expect_err("must fail").to_string();
    for part in parts {
        assert!(error.contains(part), "{error:?} lacks {part:?}");
    }
    assert_eq!(names(folder.path()), left, "{error}");
}

#[test]
fn a_file_is_fetched_once_and_then_left_alone() {
    let server = Server::new(|request, _, stream| honest(request, stream, &body()));
    let folder = temporary();
    let deep = folder.path().join("made/for/it");
    let mut events = Vec::new();
    for _ in 0..2 {
        let wanted = wanted(&[server.url()]);
        let path = fetch(&wanted, &deep, &impatient(), &mut |event| match event {
            Event::Received { done, total } => events.push(format!("{}", done == total)),
            other => events.push(format!("{other:?}")),
        });
        assert_eq!(path.unwrap(), deep.join("file"));
    }
    assert_fetched(&deep);
    assert_eq!(server.seen(), ["/file"]);
    assert!(events[0].starts_with("Asking"), "{events:?}");
    assert!(events[events.len() - 2].starts_with("Stored"), "{events:?}");
    assert!(
        events[events.len() - 1].starts_with("Present"),
        "{events:?}"
    );
    assert_eq!(
        events[events.len() - 3],
        "true",
        "the last bytes are reported"
    );
}

#[test]
fn a_wrong_file_under_the_name_is_replaced() {
    let server = Server::new(|request, _, stream| honest(request, stream, &body()));
    let folder = temporary();
    let mut wrong = body();
    wrong[7] ^= 1;
    fs::write(folder.path().join("file"), wrong).unwrap();
    run(&[server.url()], folder.path()).unwrap();
    assert_fetched(folder.path());
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_was() {
    let server = Server::new(|request, index, stream| match index {
        0 => {
            let head = format!("200 OK\r\nContent-Length: {}", body().len());
            send(stream, &head, &body()[..100_000]);
        }
        _ => honest(request, stream, &body()),
    });
    let folder = temporary();
    run(&[server.url()], folder.path()).unwrap();
    assert_fetched(folder.path());
    assert_eq!(server.seen(), ["/file", "/file@100000"]);
}

#[test]
fn what_an_earlier_fetch_left_is_gone_on_with() {
    let server = Server::new(|request, _, stream| honest(request, stream, &body()));
    let folder = temporary();
    fs::write(folder.path().join("file.part"), &body()[..5]).unwrap();
    run(&[server.url()], folder.path()).unwrap();
    assert_fetched(folder.path());
    // A part that only lacks its name needs no network.
    fs::rename(folder.path().join("file"), folder.path().join("file.part")).unwrap();
    run(&[server.url()], folder.path()).unwrap();
    assert_fetched(folder.path());
    assert_eq!(server.seen(), ["/file@5"]);
}

#[test]
fn a_server_that_always_breaks_off_leaves_a_part_and_no_file() {
    let server = Server::new(|request, _, stream| {
        let total = body().len();
        let from = request.from.unwrap_or(0);
        let head = format!(
            "206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{total}",
            total - from,
            total - 1
        );
        let head = match request.from {
            Some(_) => head,
            None => format!("200 OK\r\nContent-Length: {total}"),
        };
        send(stream, &head, &body()[from..from + 1000]);
    });
    assert_fails(
        &[server.url()],
        &["file", &server.url(), "300000"],
        &["file.part"],
    );
    assert_eq!(server.seen(), ["/file", "/file@1000", "/file@2000"]);
}

#[test]
fn a_stall_is_noticed_and_the_rest_is_fetched() {
    let server = Server::new(|request, index, stream| match index {
        0 => {
            let head = format!("200 OK\r\nContent-Length: {}", body().len());
            send(stream, &head, &body()[..50_000]);
            std::thread::sleep(Duration::from_secs(4));
        }
        _ => honest(request, stream, &body()),
    });
    let folder = temporary();
    run(&[server.url()], folder.path()).unwrap();
    assert_fetched(folder.path());
    assert_eq!(server.seen(), ["/file", "/file@50000"]);
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let server = Server::new(|_, _, _| std::thread::sleep(Duration::from_secs(4)));
    assert_fails(&[server.url()], &[&server.url(), "timeout"], &[]);
}

#[test]
fn a_redirect_is_followed_and_a_loop_of_them_is_not() {
    let server = Server::new(|request, _, stream| match request.path.as_str() {
        "/file" => send(
            stream,
            "302 Found\r\nLocation: /real\r\nContent-Length: 0",
            &[],
        ),
        _ => honest(request, stream, &body()),
    });
    let folder = temporary();
    run(&[server.url()], folder.path()).unwrap();
    assert_fetched(folder.path());
    assert_eq!(server.seen(), ["/file", "/real"]);

    let server = Server::new(|_, _, stream| {
        send(
            stream,
            "302 Found\r\nLocation: /file\r\nContent-Length: 0",
            &[],
        );
    });
    assert_fails(&[server.url()], &["redirect"], &[]);
    assert_eq!(server.seen().len(), 6);
}

#[test]
fn a_server_that_lies_about_the_length_is_caught() {
    // A wrong announcement.
    let short = Server::new(|_, _, stream| ok(stream, &body()[1..]));
    assert_fails(&[short.url()], &["299999 bytes", "expected 300000"], &[]);
    // No announcement, and too much.
    let long = Server::new(|_, _, stream| send(stream, "200 OK", &[body(), body()].concat()));
    assert_fails(&[long.url()], &["more than the expected 300000"], &[]);
    // No announcement, and too little: told apart from a break only by trying again.
    let short = Server::new(|_, _, stream| send(stream, "200 OK", &body()[1..]));
    assert_fails(
        &[short.url()],
        &["ended after 299999 of 300000"],
        &["file.part"],
    );
}

#[test]
fn wrong_bytes_are_thrown_away() {
    let server = Server::new(|_, _, stream| ok(stream, &vec![7; body().len()]));
    let hash = wanted(&[]).sha256;
    assert_fails(&[server.url()], &["SHA-256", &hash, &server.url()], &[]);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_part_of_another_file_is_thrown_away_and_the_whole_fetched() {
    let server = Server::new(|request, _, stream| honest(request, stream, &body()));
    let folder = temporary();
    fs::write(folder.path().join("file.part"), vec![7; 1000]).unwrap();
    run(&[server.url()], folder.path()).unwrap();
    assert_fetched(folder.path());
    assert_eq!(server.seen(), ["/file@1000", "/file"]);
    // One that is too long as well.
    fs::remove_file(folder.path().join("file")).unwrap();
    fs::write(folder.path().join("file.part"), vec![7; 300_001]).unwrap();
    run(&[server.url()], folder.path()).unwrap();
    assert_fetched(folder.path());
}

#[test]
fn a_server_without_ranges_or_with_wrong_ones_is_asked_for_everything() {
    for answer in ["ignored", "unsatisfiable", "elsewhere"] {
        let server = Server::new(move |request, _, stream| match (answer, request.from) {
            ("unsatisfiable", Some(_)) => {
                send(
                    stream,
                    "416 Range Not Satisfiable\r\nContent-Length: 0",
                    &[],
                );
            }
            ("elsewhere", Some(_)) => {
                let head = "206 Partial Content\r\nContent-Range: bytes 0-9/300000\r\n\
                            Content-Length: 10";
                send(stream, head, &body()[..10]);
            }
            _ => ok(stream, &body()),
        });
        let folder = temporary();
        fs::write(folder.path().join("file.part"), &body()[..5]).unwrap();
        run(&[server.url()], folder.path()).unwrap();
        assert_fetched(folder.path());
    }
}

#[test]
fn the_second_mirror_helps_where_the_first_fails() {
    let bad = Server::new(|_, _, stream| send(stream, "404 Not Found\r\nContent-Length: 0", &[]));
    let wrong = Server::new(|_, _, stream| ok(stream, &vec![7; body().len()]));
    let good = Server::new(|request, _, stream| honest(request, stream, &body()));
    let folder = temporary();
    // Nothing listens at the port of a server that was.
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let closed = format!("http://{closed}/file");
    let urls = [
        bad.url(),
        closed.clone(),
        "no url".to_owned(),
        wrong.url(),
        good.url(),
    ];
    run(&urls, folder.path()).unwrap();
    assert_fetched(folder.path());
    assert_fails(
        &urls[..4],
        &["404", &bad.url(), &closed, "no url", "SHA-256", "--mirror"],
        &[],
    );
}

#[test]
fn a_server_that_does_not_speak_tls_is_an_error() {
    let server = Server::new(|_, _, stream| ok(stream, &body()));
    let url = server.url().replace("http:", "https:");
    assert_fails(std::slice::from_ref(&url), &[&url], &[]);
}

#[test]
fn a_folder_that_cannot_be_is_an_error_before_any_network() {
    let server = Server::new(|request, _, stream| honest(request, stream, &body()));
    let folder = temporary();
    let blocked = folder.path().join("blocked");
    fs::write(&blocked, "a file").unwrap();
    for path in [blocked.clone(), blocked.join("below")] {
        let error = run(&[server.url()], &path).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, DataError::Store { .. }), "{text}");
        for part in [blocked.to_str().unwrap(), "300000 bytes", "--cache"] {
            assert!(text.contains(part), "{text}");
        }
    }
    assert_eq!(fs::read(&blocked).unwrap(), b"a file");
    assert!(server.seen().is_empty());
}

#[test]
fn a_folder_in_the_place_of_the_file_is_an_error_and_stays() {
    let server = Server::new(|request, _, stream| honest(request, stream, &body()));
    let folder = temporary();
    fs::create_dir(folder.path().join("file")).unwrap();
    let error = run(&[server.url()], folder.path()).unwrap_err().to_string();
    assert!(error.contains("giving it its name"), "{error}");
    assert!(folder.path().join("file").is_dir());
    assert_eq!(names(folder.path()), ["file", "file.part"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_that_says_what_is_needed() {
    let server = Server::new(|request, _, stream| honest(request, stream, &body()));
    let folder = temporary();
    // Every write to this device fails as on a full disk.
    std::os::unix::fs::symlink("/dev/full", folder.path().join("file.part")).unwrap();
    let error = run(&[server.url()], folder.path()).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, DataError::Store { .. }), "{text}");
    for part in [
        "file.part: writing failed",
        "300000 bytes are needed",
        "--cache",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!folder.path().join("file").exists());
}

#[test]
fn two_fetches_of_one_file_do_not_mix() {
    let server = Server::new(|request, _, stream| honest(request, stream, &body()));
    let folder = temporary();
    let part = fs::File::create(folder.path().join("file.part")).unwrap();
    part.lock().unwrap();
    let error = run(&[server.url()], folder.path()).unwrap_err();
    assert!(matches!(error, DataError::Busy { .. }), "{error}");
    drop(part);
    run(&[server.url()], folder.path()).unwrap();
    assert_fetched(folder.path());
}
