//! What the command sees of the file system: the host's, without its sockets and with our trust.

use std::process::Output;

use crate::Case;
use crate::caller::{Caller, STAGED_SELF, Texts, run, with_stage};
use crate::spawner;

pub(crate) const CASES: &[Case] = &[
    ("proc_is_fresh", proc_is_fresh),
    ("every_socket_of_the_host_is_hidden", every_socket_of_the_host_is_hidden),
    ("run_is_empty_but_for_links_and_open_directories", run_is_empty),
    ("the_runtime_directory_is_there_and_empty", the_runtime_directory_is_there_and_empty),
    ("the_old_run_directory_is_hidden_too", the_old_run_directory_is_hidden_too),
    ("trust_is_in_files_and_variables", trust_is_in_files_and_variables),
    ("the_systems_bundle_is_the_merged_one", the_systems_bundle_is_the_merged_one),
    ("names_are_asked_of_the_gateway", names_are_asked_of_the_gateway),
    ("names_are_asked_of_the_gateway_where_the_file_is_a_link_into_run", resolver_file_in_run),
    ("our_own_files_cannot_be_written", our_own_files_cannot_be_written),
    ("a_hidden_file_is_empty_and_stays_so", a_hidden_file_is_empty_and_stays_so),
    ("a_hidden_directory_is_empty", a_hidden_directory_is_empty),
    ("a_private_file_is_never_seen_also_when_another_takes_its_place", a_private_file_is_never_seen),
    ("a_private_file_where_the_command_has_to_be_starts_nothing", a_private_file_in_a_shared_place),
    ("a_read_only_file_is_read_and_not_written", a_read_only_file_is_read_and_not_written),
    ("nothing_is_left_on_the_host", nothing_is_left_on_the_host),
    ("files_of_the_host_are_as_they_were", files_of_the_host_are_as_they_were),
];

fn staged(caller: &Caller, stage: &str, command: &[&str]) -> Output {
    let mut parent = caller.parent(command);
    with_stage(&mut parent, stage);
    run(&mut parent, b"")
}

fn proc_is_fresh(caller: &Caller) {
    assert_eq!(caller.sh("readlink /proc/self; stat -f -c %T /proc").lines().count(), 2);
    assert_eq!(caller.sh("echo $$; exec cat /proc/sys/kernel/ns_last_pid | head -c0"), "2\n");
}

fn every_socket_of_the_host_is_hidden(caller: &Caller) {
    // Places only root could listen at; the stage's /run belongs to root.
    let of_root: &[&str] = &[
        "/run/dbus/system_bus_socket",
        "/run/docker.sock",
        "/run/containerd/containerd.sock",
        "/run/podman/podman.sock",
        "/run/systemd/resolve/io.systemd.Resolve",
        "/run/systemd/journal/stdout",
        "/run/user/0/bus",
        "/run/nscd/socket",
    ];
    let host = ["python3", "-c", include_str!("sockets.py")];
    let command = if caller.is_root() { [&host, of_root].concat() } else { host.to_vec() };
    let printed = run(&mut caller.staged(&command), b"").succeeded();
    assert!(!printed.contains("reached"), "{printed}");
    assert!(printed.contains("tried"), "{printed}");
}

fn run_is_empty(caller: &Caller) {
    let stage = "mkdir -m 1777 /run/lock; ln -s /nix/store/system /run/current-system; echo s >/run/secret; \
        mkdir /run/user; mkfifo /run/initctl";
    let listing =
        staged(caller, stage, &["sh", "-c", "ls /run; readlink /run/current-system; touch /run/lock/x"]);
    assert_eq!(listing.succeeded(), "current-system\nlock\nportcullis\n/nix/store/system\n");
}

fn the_runtime_directory_is_there_and_empty(caller: &Caller) {
    for directory in ["/run/user/7", "/tmp/runtime"] {
        let stage = format!("mkdir -p -m 777 {directory}; echo s >{directory}/secret");
        let mut parent =
            caller.parent(&["sh", "-c", "ls -A $XDG_RUNTIME_DIR; touch $XDG_RUNTIME_DIR/mine; echo ok"]);
        with_stage(parent.env("XDG_RUNTIME_DIR", directory), &stage);
        assert_eq!(run(&mut parent, b"").succeeded(), "ok\n");
    }
}

fn the_old_run_directory_is_hidden_too(caller: &Caller) {
    let stage = "mount -t tmpfs none /var; mkdir -m 755 /var/run; echo s >/var/run/secret";
    assert_eq!(staged(caller, stage, &["ls", "/var/run"]).succeeded(), "");
}

fn trust_is_in_files_and_variables(caller: &Caller) {
    let printed = caller.sh("cat $NODE_EXTRA_CA_CERTS $SSL_CERT_FILE $REQUESTS_CA_BUNDLE $npm_config_cafile");
    assert_eq!(printed, [spawner::CA, spawner::BUNDLE, spawner::BUNDLE, spawner::BUNDLE].concat());
}

fn the_systems_bundle_is_the_merged_one(caller: &Caller) {
    // Debian's file, a link as on Alpine and Arch, Fedora's, and SUSE's.
    let stage = "mount -t tmpfs -o mode=755 none /etc/ssl; mount -t tmpfs -o mode=755 none /var/lib; \
        mkdir -p /etc/ssl/certs /var/lib/ca-certificates; echo host >/etc/ssl/certs/ca-certificates.crt; \
        ln -s certs/ca-certificates.crt /etc/ssl/cert.pem; echo host >/var/lib/ca-certificates/ca-bundle.pem; \
        ln -s /var/lib/ca-certificates/ca-bundle.pem /etc/ssl/ca-bundle.pem; echo other >/etc/ssl/other.pem";
    let files = "/etc/ssl/certs/ca-certificates.crt /etc/ssl/cert.pem /var/lib/ca-certificates/ca-bundle.pem \
        /etc/ssl/ca-bundle.pem";
    let printed =
        staged(caller, stage, &["sh", "-c", &format!("cat {files} /etc/ssl/other.pem")]).succeeded();
    assert_eq!(printed, [&spawner::BUNDLE.repeat(4), "other\n"].concat());
}

fn names_are_asked_of_the_gateway(caller: &Caller) {
    let script = "cat /etc/resolv.conf; echo nameserver 9.9.9.9 >/etc/resolv.conf";
    let output = caller.run(&["sh", "-c", script]);
    assert_eq!(output.out(), "nameserver 172.16.0.1\nnameserver fd00::1\n");
    assert!(!output.status.success(), "it could be written");
}

fn resolver_file_in_run(caller: &Caller) {
    for exists in [true, false] {
        let link = "ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf;";
        let mut stage = format!("{}; mkdir -p /run/systemd/resolve; {link}", crate::caller::OWN_ETC);
        if exists {
            stage.push_str("echo nameserver 127.0.0.53 >/run/systemd/resolve/stub-resolv.conf");
        }
        let printed = staged(caller, &stage, &["cat", "/etc/resolv.conf"]).succeeded();
        assert_eq!(printed, "nameserver 172.16.0.1\nnameserver fd00::1\n");
    }
}

fn our_own_files_cannot_be_written(caller: &Caller) {
    let script = "for f in /run/portcullis/*; do (: >>$f) && echo wrote $f; rm -rf $f; done; \
        touch /run/portcullis/new && echo made; mv /run/portcullis /run/away && echo moved; ls /run/portcullis";
    let printed = caller.sh(&format!("{{ {script}; }} 2>/dev/null"));
    assert_eq!(printed, "bundle.pem\nca.pem\nempty\nnothing\nresolv.conf\n");
}

fn a_hidden_file_is_empty_and_stays_so(caller: &Caller) {
    let script = "cat /tmp/w/d/audit; (: >/tmp/w/d/audit) || echo unwritten; rm -f /tmp/w/d/audit || echo there; \
        mv /tmp/w/d/audit /tmp/w/d/b || echo unmoved; ln /tmp/w/d/audit /tmp/w/d/c || echo unlinked; mv /tmp/w/d /tmp/w/e; \
        cat /tmp/w/e/audit";
    let mut parent = caller.parent(&["sh", "-c", &format!("{{ {script}; }} 2>/dev/null")]);
    with_stage(
        &mut parent,
        "mkdir -p /tmp/w/d; chmod 777 /tmp/w /tmp/w/d; echo s >/tmp/w/d/audit; chmod 666 /tmp/w/d/audit",
    );
    let printed = run(parent.env(spawner::HIDDEN, "/tmp/w/d/audit"), b"").succeeded();
    assert_eq!(printed, "unwritten\nthere\nunmoved\nunlinked\n");
}

fn a_hidden_directory_is_empty(caller: &Caller) {
    let mut parent = caller.parent(&[
        "sh",
        "-c",
        "ls -A /tmp/control; touch /tmp/control/x 2>/dev/null || echo unwritten",
    ]);
    with_stage(&mut parent, "mkdir -m 777 /tmp/control; chmod 777 /tmp/control; echo s >/tmp/control/socket");
    assert_eq!(run(parent.env(spawner::HIDDEN, "/tmp/control"), b"").succeeded(), "unwritten\n");
}

fn a_private_file_is_never_seen(caller: &Caller) {
    // The parent's side replaces the file while the command waits, as a rotation does.
    let inside = "cat /tmp/k/keys/token /tmp/link /tmp/k/there/token /tmp/k/keys/next; echo seen; read -r line; \
        cat /tmp/k/keys/token /tmp/link /tmp/k/there/token; ls -A /tmp/k/keys /tmp/k/there; echo end";
    let host = format!(
        "mkfifo /tmp/in /tmp/out; {{ {STAGED_SELF} --as-parent sh -c '{inside}' </tmp/in >/tmp/out; }} & \
         exec 3>/tmp/in 4</tmp/out; read -r line <&4; echo \"$line\"; \
         echo secret >/tmp/k/keys/next; mv /tmp/k/keys/next /tmp/k/keys/token; echo secret >/tmp/k/there/token; \
         echo go >&3; cat <&4; cat /tmp/k/keys/token"
    );
    let stage = "mkdir -p /tmp/k/keys /tmp/k/there; echo secret >/tmp/k/there/token; ln -s ../there/token /tmp/k/keys/token; \
        ln -s k/keys/token /tmp/link; chmod -R 777 /tmp/k";
    let mut staged = caller.staged(&["sh", "-c", &format!("{{ {host}; }} 2>/dev/null")]);
    with_stage(&mut staged, stage);
    let printed = run(staged.env(spawner::PRIVATE, "/tmp/k/keys/token"), b"").succeeded();
    assert_eq!(printed, "seen\n/tmp/k/keys:\n\n/tmp/k/there:\nend\nsecret\n");
}

fn a_private_file_in_a_shared_place(caller: &Caller) {
    for (file, directory) in [("/tmp/token", "/tmp"), ("/tmp/home/token", "/tmp/home")] {
        let mut parent = caller.parent(&["cat", file]);
        with_stage(&mut parent, &format!("mkdir -m 777 /tmp/home; echo secret >{file}; chmod 666 {file}"));
        let output = run(parent.env(spawner::PRIVATE, file), b"");
        assert_eq!((output.status.code(), output.out().as_str()), (Some(125), ""));
        let says = format!("{file} cannot be hidden from the command, which needs the rest of {directory}: ");
        assert!(output.err().contains(&says), "{}", output.err());
    }
}

fn a_read_only_file_is_read_and_not_written(caller: &Caller) {
    let script = "cat /tmp/config; (: >/tmp/config) || echo unwritten; rm /tmp/config || echo there";
    let mut parent = caller.parent(&["sh", "-c", &format!("{{ {script}; }} 2>/dev/null")]);
    with_stage(&mut parent, "echo c >/tmp/config; chmod 666 /tmp/config");
    assert_eq!(run(parent.env(spawner::READ_ONLY, "/tmp/config"), b"").succeeded(), "c\nunwritten\nthere\n");
}

fn nothing_is_left_on_the_host(caller: &Caller) {
    let state = "find /run /tmp; cat /proc/self/mountinfo; ip -o link";
    let script =
        format!("before=$({state}); /mnt/self --as-parent true && test \"$before\" = \"$({state})\"");
    run(&mut caller.staged(&["sh", "-c", &script]), b"").succeeded();
}

fn files_of_the_host_are_as_they_were(caller: &Caller) {
    let script = "umask 027; /mnt/self --as-parent sh -c 'echo new >/tmp/new; umask' && stat -c '%a %U' /tmp/new; id -un";
    let printed = run(&mut caller.staged(&["sh", "-c", script]), b"").succeeded();
    let user = printed.lines().last().unwrap_or_default();
    assert_eq!(printed, format!("0027\n640 {user}\n{user}\n"));
}
