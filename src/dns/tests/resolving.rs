//! Names that we dial ourselves.

use super::*;
use crate::policy::Permit;

fn dialled(permits: Result<Vec<Permit>, ResolveFailure>) -> Vec<String> {
    permits.unwrap().iter().map(|permit| permit.addr().to_string()).collect()
}

fn both(question: &str) -> Script {
    let owner = question.split(". ").next().unwrap();
    let addrs: &[&str] = match question {
        "pypi.org. A" => &["151.101.0.1", "151.101.0.2", "151.101.0.3"],
        "pypi.org. AAAA" => &["2a04:4e42::1", "2a04:4e42::2"],
        "a.cdn.example. A" => &["10.0.0.1", "151.101.0.9"],
        "git.example. A" => &["192.168.1.1"],
        "git.example. AAAA" => &["::1"],
        _ => &[],
    };
    Script::Answer(addrs.iter().map(|addr| address(owner, 300, addr)).collect())
}

#[tokio::test]
async fn families_take_turns_and_ipv6_is_first() {
    local(async {
        let server = Nameserver::start(both).await;
        let world = World::new(&[&server], |_| {});
        let permits = world.resolver.resolve(&world.permit("pypi.org", 443)).await;
        assert_eq!(
            dialled(permits),
            [
                "[2a04:4e42::1]:443",
                "151.101.0.1:443",
                "[2a04:4e42::2]:443",
                "151.101.0.2:443",
                "151.101.0.3:443"
            ]
        );
        assert!(world.bound("151.101.0.1").is_empty(), "what the guest was not told binds nothing");
    })
    .await;
}

#[tokio::test]
async fn what_is_known_is_not_asked_again() {
    local(async {
        let server = Nameserver::start(both).await;
        let world = World::new(&[&server], |_| {});
        for _ in 0..3 {
            dialled(world.resolver.resolve(&world.permit("pypi.org", 443)).await);
            dialled(world.resolver.resolve(&world.permit("a.cdn.example", 80)).await);
        }
        assert_eq!(server.asked().len(), 4);
    })
    .await;
}

#[tokio::test]
async fn each_address_is_judged_and_the_denial_names_the_port() {
    local(async {
        let server = Nameserver::start(both).await;
        let world = World::new(&[&server], |_| {});
        let permits = world.resolver.resolve(&world.permit("a.cdn.example", 443)).await;
        assert_eq!(dialled(permits), ["151.101.0.9:443"]);
        let failure = world.resolver.resolve(&world.permit("git.example", 22)).await.unwrap_err();
        assert!(matches!(&failure, ResolveFailure::Denied(denial) if denial.target == "git.example:22"));
        assert_eq!(failure.proxy_status(), "destination_ip_prohibited");
    })
    .await;
}

#[tokio::test]
async fn the_operators_address_is_taken_without_a_question() {
    local(async {
        let server = Nameserver::start(both).await;
        let world = World::new(&[&server], |_| {});
        let permits = world.resolver.resolve(&world.permit("api.example", 443)).await;
        assert_eq!(dialled(permits), ["127.0.0.1:8443"]);
        let permits = world.resolver.resolve(&world.permit("host.portcullis.internal", 8080)).await;
        assert_eq!(dialled(permits), ["127.0.0.1:8080", "[::1]:8080"]);
        assert_eq!(server.asked(), [""; 0]);
        let other_port = world.resolver.resolve(&world.permit("api.example", 80)).await.unwrap_err();
        assert!(matches!(other_port, ResolveFailure::NotFound(_)), "that port is resolved like any");
    })
    .await;
}

#[tokio::test]
async fn the_hosts_file_serves_our_own_dials() {
    local(async {
        let server = Nameserver::start(both).await;
        let file = Scratch::new("own", "93.184.216.34 pypi.org\n");
        let world = World::new(&[&server], |setup| setup.hosts.clone_from(&file.0));
        let permits = world.resolver.resolve(&world.permit("pypi.org", 443)).await;
        assert_eq!(dialled(permits), ["93.184.216.34:443"]);
        assert_eq!(server.asked(), [""; 0]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_family_is_not_held_up_by_the_silence_of_the_other() {
    local(async {
        let server = Nameserver::start(|question| match question {
            "pypi.org. AAAA" => Script::Silence,
            _ => both(question),
        })
        .await;
        let world = World::new(&[&server], |_| {});
        let started = tokio::time::Instant::now();
        let permits = world.resolver.resolve(&world.permit("pypi.org", 443)).await;
        assert_eq!(dialled(permits).len(), 3);
        let limits = Limits::default();
        assert!(started.elapsed() < limits.dns_second_family * 2, "{:?}", started.elapsed());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_family_without_an_address_that_may_be_used_does_not_cut_short_the_other() {
    local(async {
        let slow = Nameserver::start(|question| match question {
            "git.example. A" => Script::Silence,
            _ => both(question),
        })
        .await;
        let good =
            Nameserver::start(|_| Script::Answer(vec![address("git.example", 300, "151.101.0.1")])).await;
        let world = World::new(&[&slow, &good], |_| {});
        let permits = world.resolver.resolve(&world.permit("git.example", 22)).await;
        assert_eq!(dialled(permits), ["151.101.0.1:22"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn failures_are_told_apart() {
    local(async {
        let missing = Nameserver::start(|_| Script::Code(ResponseCode::NXDomain)).await;
        let world = World::new(&[&missing], |_| {});
        let failure = world.resolver.resolve(&world.permit("pypi.org", 443)).await.unwrap_err();
        assert_eq!(
            (failure.to_string().as_str(), failure.proxy_status()),
            ("pypi.org has no address", "dns_error")
        );
        let silent = Nameserver::start(|_| Script::Silence).await;
        let world = World::new(&[&silent], |_| {});
        let failure = world.resolver.resolve(&world.permit("pypi.org", 443)).await.unwrap_err();
        assert_eq!(failure.proxy_status(), "dns_timeout");
        let world = World::new(&[], |_| {});
        let failure = world.resolver.resolve(&world.permit("pypi.org", 443)).await.unwrap_err();
        assert_eq!(
            failure.to_string(),
            "pypi.org cannot be resolved: no nameserver is known; set [net] nameservers"
        );
    })
    .await;
}
