//! Temporary.
use ringfence_agent::{compile::Desired, dataplane::{self, Kernel as _, Options, Attach}};
use ringfence_tests::sandbox::sandbox;

#[test]
fn loads() {
    sandbox(|bpffs| {
        let options = Options { bpffs, cgroup_root: Some("/sys/fs/cgroup/unified".into()), limits: Default::default(), mark: Default::default(), event_rate: 500, attach: Attach::Auto };
        let mut kernel = match dataplane::open(&options) { Ok(k) => k, Err(e) => { let text = e.to_string(); let lines: Vec<_> = text.lines().collect(); for l in lines.iter().take(5) { println!("{l}"); } println!("..."); for l in lines.iter().rev().take(90).rev() { println!("{l}"); } panic!("load"); } };
        println!("{:?}", kernel.ebpf().programs().map(|(n,p)| (n.to_owned(), p.info().ok().map(|i| (i.verified_instruction_count(), i.size_jitted())))).collect::<Vec<_>>()); println!("{:?}", kernel.apply(&Desired::default()));
        for o in kernel.objects().unwrap() { println!("{o:?}"); }
    });
}
