//! What the command's network has, and what it has not.

use crate::Case;
use crate::caller::{Caller, Texts, run, with_stage};

pub(crate) const CASES: &[Case] = &[
    ("loopback_and_the_tap_are_all_there_is", loopback_and_the_tap_are_all_there_is),
    ("the_tap_has_the_addresses_and_routes_it_was_given", the_tap_has_the_addresses_and_routes_it_was_given),
    ("sysfs_shows_the_new_network", sysfs_shows_the_new_network),
    ("the_hosts_loopback_and_abstract_sockets_are_out_of_reach", the_hosts_loopback_is_out_of_reach),
    ("a_server_listens_on_a_low_port_of_the_guests_own", a_server_listens_on_a_low_port),
    ("ping_sockets_are_there_without_a_capability", ping_sockets_are_there_without_a_capability),
    ("ping_runs_though_its_file_has_capabilities", ping_runs_though_its_file_has_capabilities),
    ("the_network_cannot_be_changed", the_network_cannot_be_changed),
];

fn loopback_and_the_tap_are_all_there_is(caller: &Caller) {
    let links = caller.sh("ip -o link | sed 's/^[0-9]*: \\([a-z0-9]*\\):.*/\\1/'");
    assert_eq!(links, "lo\neth0\n");
    assert_eq!(caller.sh("ip -o link show up | wc -l").trim(), "2");
}

fn the_tap_has_the_addresses_and_routes_it_was_given(caller: &Caller) {
    let link = caller.sh("ip -o link show eth0");
    assert!(link.contains("mtu 1500") && link.contains("qlen 10000"), "{link}");
    assert!(link.contains("link/ether 02:00:00:00:00:02"), "{link}");
    let addresses = caller.sh("ip -o address show eth0 | awk '{print $3, $4}'");
    assert_eq!(addresses, "inet 172.16.0.2/30\ninet6 fd00::2/64\n", "and no link-local one");
    let usable = caller.sh("ip -o -6 address show eth0");
    assert!(!usable.contains("tentative"), "{usable}");
    let routes = caller.sh("ip -4 route; ip -6 route show default");
    assert!(routes.contains("default via 172.16.0.1 dev eth0"), "{routes}");
    assert!(routes.contains("default via fd00::1 dev eth0"), "{routes}");
}

fn sysfs_shows_the_new_network(caller: &Caller) {
    assert_eq!(caller.sh("ls /sys/class/net"), "eth0\nlo\n");
}

fn the_hosts_loopback_is_out_of_reach(caller: &Caller) {
    // The host of this test: a listener on its loopback, one in the abstract space, and a sandbox that tries
    // both.
    let host = "\
        import os, socket, subprocess, sys\n\
        tcp = socket.create_server(('127.0.0.1', 0)); port = str(tcp.getsockname()[1])\n\
        name = 'portcullis-test-%d' % os.getpid()\n\
        abstract = socket.socket(socket.AF_UNIX); abstract.bind('\\0' + name); abstract.listen()\n\
        guest = '''import socket, sys\n\
        for address, family in ((('127.0.0.1', int(sys.argv[1])), socket.AF_INET), ('\\\\0' + sys.argv[2], socket.AF_UNIX)):\n\
        \x20   try: socket.socket(family).connect(address); print('reached')\n\
        \x20   except ConnectionRefusedError: print('refused')\n\
        '''\n\
        sys.exit(subprocess.call(['/mnt/self', '--as-parent', 'python3', '-c', guest, port, name]))\n";
    let output = crate::caller::run(&mut caller.staged(&["python3", "-c", host]), b"");
    assert_eq!(crate::caller::Texts::succeeded(&output), "refused\nrefused\n");
}

fn a_server_listens_on_a_low_port(caller: &Caller) {
    let program = "import socket\n\
        server = socket.create_server(('127.0.0.1', 80))\n\
        client = socket.create_connection(('127.0.0.1', 80)); client.sendall(b'x')\n\
        print(server.accept()[0].recv(1))\n";
    assert_eq!(caller.python(program), "b'x'\n");
}

fn ping_sockets_are_there_without_a_capability(caller: &Caller) {
    let program = "import socket\n\
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP); print('ok')\n";
    assert_eq!(caller.python(program), "ok\n");
}

/// A program like `ping`, which the kernel would not execute, having no capability to give to it.
fn ping_runs_though_its_file_has_capabilities(caller: &Caller) {
    let stage = "cp /bin/echo /mnt/ping; python3 -c \"import os, struct; \
        os.setxattr('/mnt/ping', 'security.capability', struct.pack('<5I', 0x02000001, 1 << 13, 0, 0, 0))\"";
    let mut parent = caller.parent(&["/mnt/ping", "ran"]);
    with_stage(&mut parent, stage);
    assert_eq!(run(&mut parent, b"").succeeded(), "ran\n");
}

fn the_network_cannot_be_changed(caller: &Caller) {
    let script = "ip link set eth0 down || ip route del default || ip address add 10.0.0.1/8 dev eth0 || \
        ip link add v0 type veth || echo refused";
    assert_eq!(caller.sh(&format!("{{ {script}; }} 2>/dev/null")), "refused\n");
}
