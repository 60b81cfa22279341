//! Each kind of source: what it gives, and what it says where it gives nothing.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use super::*;

/// A directory of the test's own.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("portcullis-source-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn load(source: &Source) -> Result<Loaded, SourceError> {
    source.load(&Limits::default())
}

fn told(source: &Source) -> String {
    load(source).err().unwrap().to_string()
}

fn shell(script: &str) -> Source {
    Source::command(["sh", "-c", script].map(str::to_owned).to_vec()).unwrap()
}

#[test]
fn a_variable_is_named_and_read() {
    let source = Source::parse("env://TOKEN").unwrap();
    assert_eq!(source, Source::Env("TOKEN".into()));
    assert_eq!(source.to_string(), "env://TOKEN");
    let limits = Limits::default();
    let loaded = source
        .load_with(Bounds { limits: &limits, stop: None }, |name| {
            (name == "TOKEN").then(|| "0123456789".into())
        })
        .unwrap();
    assert_eq!((loaded.value.expose(), loaded.expires), (&b"0123456789"[..], None));
}

#[test]
fn a_missing_or_unfit_variable_is_told_without_its_value() {
    let source = Source::Env("TOKEN".into());
    let limits = Limits::default();
    let text = |value: Option<&str>| {
        source
            .load_with(Bounds { limits: &limits, stop: None }, |_| value.map(Into::into))
            .err()
            .unwrap()
            .to_string()
    };
    assert!(text(None).contains("TOKEN is not set"));
    assert_eq!(
        text(Some("hunter2")),
        "the value of env://TOKEN is shorter than 8 bytes and would be found in text by chance; use a longer one"
    );
    assert!(!text(Some("canary\ncanary")).contains("canary"));
    let unset = Source::Env("PORTCULLIS_TEST_VARIABLE_THAT_IS_NOT_SET".into());
    assert!(matches!(load(&unset), Err(SourceError::Unset { .. })));
}

#[test]
fn what_is_no_source_is_refused_without_being_repeated() {
    for text in ["", "TOKEN", "FILE:///x", "ENV://X", "hunter2hunter2"] {
        assert_eq!(Source::parse(text), Err(SourceError::Scheme));
    }
    for name in ["", "A=B", "1A", "sk-hunter2hunter2", "A B"] {
        assert_eq!(Source::parse(&format!("env://{name}")), Err(SourceError::Name));
        let error = load(&Source::Env(name.into())).err().unwrap();
        assert!(!error.to_string().contains("hunter2"));
    }
    for text in
        ["file://", "file://x", "file:///", "file:///x/", "file://host/x", "file:///x/..", "file:///x\0"]
    {
        assert_eq!(Source::parse(text), Err(SourceError::Path), "{text}");
    }
    assert_eq!(Source::parse("cmd://op read"), Err(SourceError::CommandText));
    for argv in [&[][..], &[""], &["a\0"], &["a", "\0"]] {
        let argv = argv.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(Source::command(argv), Err(SourceError::NoProgram));
    }
    assert!(!SourceError::Scheme.to_string().contains("hunter2"));
}

#[test]
fn a_file_is_read_whole_but_for_one_line_end() {
    let scratch = Scratch::new();
    for (content, value) in [
        (&b"0123456789"[..], &b"0123456789"[..]),
        (b"0123456789\n", b"0123456789"),
        (b" 12345678\r\n", b" 12345678"),
    ] {
        let source = Source::File(scratch.file("token", content));
        assert_eq!(load(&source).unwrap().value.expose(), value);
    }
    let longest = Source::File(scratch.file("long", &[&[b'a'; 16 << 10][..], b"\r\n"].concat()));
    assert_eq!(load(&longest).unwrap().value.expose().len(), 16 << 10);
}

#[test]
fn a_file_that_holds_no_secret_is_told_without_what_is_in_it() {
    let scratch = Scratch::new();
    for (content, says) in [
        (&b""[..], "shorter than 8 bytes"),
        (b"hunter2\n", "shorter than 8 bytes"),
        (b"hunter2hunter2\n\n", "contains CR, LF or NUL"),
        (b"hunter2\nhunter2", "contains CR, LF or NUL"),
        (&[b'h'; 1 << 20], "longer than 16384 bytes"),
    ] {
        let text = told(&Source::File(scratch.file("token", content)));
        assert!(text.contains(says) && text.contains("/token") && !text.contains("hunter2"), "{text}");
    }
    assert!(told(&Source::File(scratch.0.join("nothing"))).contains("cannot be read (entity not found)"));
    assert!(told(&Source::File(scratch.0.clone())).contains("cannot be read"));
    let pipe = scratch.0.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(told(&Source::File(pipe)).contains("cannot be read"));
}

#[test]
fn a_file_that_is_replaced_or_written_has_another_stamp() {
    let scratch = Scratch::new();
    let path = scratch.file("token", b"0123456789");
    let first = Stamp::of(&path).unwrap();
    fs::rename(scratch.file("next", b"0123456789"), &path).unwrap();
    let second = Stamp::of(&path).unwrap();
    assert_ne!(first, second);
    fs::write(&path, b"9876543210 and more").unwrap();
    assert_ne!(Stamp::of(&path).unwrap(), second);
    fs::remove_file(&path).unwrap();
    assert_eq!(Stamp::of(&path), None);
}

#[test]
fn a_command_prints_the_value_or_json_with_its_end() {
    let printed =
        |script: &str| load(&shell(script)).map(|loaded| (loaded.value.expose().to_vec(), loaded.expires));
    let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    for (script, expires) in [
        ("echo 0123456789", None),
        ("printf 0123456789", None),
        (r#"echo '{"value":"0123456789"}'"#, None),
        (r#"echo '{"value":"0123456789","expires_at":null,"more":[1]}'"#, None),
        (r#"echo '{"expires_at":4102444800,"value":"0123456789"}'"#, at(4_102_444_800)),
        (r#"echo ' {"value":"0123456789","expires_at":"2100-01-01T01:00:00+01:00"}'"#, at(4_102_444_800)),
        // What it leaves running holds nothing up.
        ("sleep 1000 & echo $! >&2; echo 0123456789; kill $!", None),
    ] {
        assert_eq!(printed(script), Ok((b"0123456789".to_vec(), expires)), "{script}");
    }
    // No shell sees the words, and nothing is on its input.
    let words = Source::command(["echo", "$HOME;canary"].map(str::to_owned).to_vec()).unwrap();
    assert_eq!(load(&words).unwrap().value.expose(), b"$HOME;canary");
    assert_eq!(printed("cat; echo 0123456789"), Ok((b"0123456789".to_vec(), None)));
}

#[test]
fn a_command_that_gives_no_secret_is_told_without_its_words() {
    for (script, says) in [
        ("echo hunter2hunter2; exit 3", "the command sh ended with exit code 3"),
        ("kill -9 $$ # hunter2", "was ended by a signal"),
        ("echo hunter2", "the value of cmd://sh is shorter than 8 bytes"),
        ("echo hunter2hunter2; echo hunter2", "contains CR, LF or NUL"),
        ("echo '{\"val\":\"hunter2hunter2\"}'", "printed JSON that is not of the form"),
        ("echo '{\"value\":17, \"a\": \"hunter2\"}'", "printed JSON that is not of the form"),
        ("echo '{\"value\":\"hunter2hunter2\"} x'", "printed JSON that is not of the form"),
        ("echo '{\"value\":\"hunter2hunter2\",\"expires_at\":\"soon\"}'", "printed an expires_at"),
        ("echo '{\"value\":\"hunter2hunter2\",\"expires_at\":4102444800000}'", "printed an expires_at"),
        ("echo '{\"value\":\"hunter2hunter2\",\"expires_at\":[1]}'", "printed an expires_at"),
        ("echo '{\"value\":\"hunter2hunter2\",\"expires_at\":1}'", "has expired already"),
        ("yes hunter2 | head -c 100000", "printed more than 65536 octets"),
        ("yes hunter2", "printed more than 65536 octets"),
    ] {
        let text = told(&shell(script));
        assert!(text.contains(says) && !text.contains("hunter2") && !text.contains('\n'), "{text}");
    }
    let missing = Source::command(vec!["/nonexistent/hunter".into(), "hunter2".into()]).unwrap();
    let text = told(&missing);
    assert!(text.contains("/nonexistent/hunter cannot be started") && !text.contains("hunter2"), "{text}");
    assert_eq!(format!("{missing:?}"), "Command(Argv { program: \"/nonexistent/hunter\", .. })");
    assert_eq!(missing.to_string(), "cmd:///nonexistent/hunter");
}

#[test]
fn a_command_that_gives_no_secret_is_told_with_its_last_complaint() {
    let limits =
        Limits { source_complaint: 64, source_timeout: Duration::from_secs(20), ..Limits::default() };
    let told = |script: &str| shell(script).load(&limits).err().unwrap().to_string();
    for (script, says) in [
        (
            "echo >&2 not signed in; exit 3",
            "sh ended with exit code 3; run it by hand to see why; it says: not signed in",
        ),
        ("printf >&2 'a\\033[2J\\nb\\351\\n\\n'; exit 3", "; it says: a\\u{1b}[2J / b\\u{fffd}"),
        ("seq 100000 >&2; echo >&2 the end; exit 3", " / 99999 / 100000 / the end"),
        ("echo >&2 no JSON; echo '{}'", "\"expires_at\": TIME}; it says: no JSON"),
        ("echo >&2 bye; kill -9 $$", "by a signal; run it by hand to see why; it says: bye"),
        (
            "echo hunter2hunter2; echo >&2 hunter2hunter2; exit 3",
            "; it says: (kept back, since it repeats what the command printed)",
        ),
        (
            "yes hunter2hunter2 | tee /dev/stderr",
            "printed more than 65536 octets; see that it prints the value alone",
        ),
    ] {
        let text = told(script);
        assert!(text.ends_with(says) && !text.contains("hunter2"), "{text}");
        assert!(text.chars().all(|character| matches!(character, ' '..='~')) && text.len() < 400, "{text}");
    }
}

#[test]
fn a_command_that_nobody_waits_for_is_killed() {
    let (stop, running) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let scratch = Scratch::new();
    let started = scratch.0.join("started");
    rustix::fs::mknodat(rustix::fs::CWD, &started, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let source = shell(&format!("echo x > {}; sleep 1000", started.display()));
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| source.load_until(&Limits::default(), &stop).err());
        assert_eq!(fs::read(&started).unwrap(), b"x\n");
        drop(running);
        let error = loading.join().unwrap().unwrap();
        assert!(matches!(error, SourceError::Command { cause: CommandError::Stopped, .. }), "{error}");
    });
}

#[test]
fn a_command_that_does_not_end_is_killed_with_its_children() {
    let scratch = Scratch::new();
    let note = scratch.0.join("child");
    let limits = Limits { source_timeout: Duration::from_millis(200), ..Limits::default() };
    for noise in ["", "yes >&2 & "] {
        let script = format!("{noise}sleep 1000 & echo $! > {}; wait", note.display());
        let error = shell(&script).load(&limits).err().unwrap().to_string();
        assert!(error.contains("has not ended in 200ms and was killed"), "{error}");
        let child = fs::read_to_string(&note).unwrap();
        // Killed it is; how soon it is gone is the system's affair.
        let is_gone = || {
            let state = fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
            state.is_empty() || state.contains(") Z")
        };
        while !is_gone() {
            std::thread::yield_now();
        }
    }
}
