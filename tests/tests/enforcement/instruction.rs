//! A pod's first instruction asks for metadata: two hundred pods, each new, in every state that an agent can be in. None gets there.
//!
//! The judge sees every packet that comes to the metadata service. Each pod is a fresh network namespace on a fresh pair of devices, and a
//! process in a fresh cgroup below the pods' root; a second process of each is in no pod's cgroup, as on nodes whose pods have none of
//! version 2, so that nothing but devices can hold it.

mod crowd;

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use ringfence_tests::{
    agent::Agent,
    lab::eventually,
    runtime::{Plugin, Runtime},
};

use super::{guard::Scene, metadata::world, upgrade::age};
use crowd::{Crowd, PODS};

/// Agents that come after one another while pods start.
const UPGRADES: usize = 2;

fn flags(socket: &str) -> [&str; 8] {
    [
        "--node",
        "w1",
        "--nri",
        "on",
        "--nri-socket",
        socket,
        "--nri-timeout",
        "15000",
    ]
}

#[test]
fn without_any_layer_the_first_instruction_of_every_pod_arrives() {
    let scene = Scene::up("firstnone");
    let mut crowd = Crowd::new(&scene, None);
    crowd.start(20, None);
    eventually("packets of every pod came to the service", || {
        (crowd.arrived() == 20).then_some(())
    });
    drop(crowd);
    scene.lab.down().expect("it goes");
}

#[test]
fn before_there_is_an_agent_a_guard_holds_every_first_instruction() {
    let scene = Scene::up("firstguard");
    scene.put_up();
    let mut crowd = Crowd::new(&scene, None);
    crowd.start(PODS, None);
    crowd.nobody_arrived(PODS);
    drop(crowd);
    scene.lab.down().expect("it goes");
}

#[test]
fn with_the_agent_up_and_no_gate_no_first_instruction_arrives() {
    let scene = Scene::up("firstup");
    let agent = Agent::start(&scene.lab, &world(true), &["--nri", "off"]);
    let mut crowd = Crowd::new(&scene, Some(agent.manifests()));
    crowd.start(PODS, None);
    crowd.nobody_arrived(PODS);
    drop((crowd, agent));
    scene.lab.down().expect("it goes");
}

#[test]
fn with_the_agent_up_and_the_gate_no_first_instruction_arrives() {
    let scene = Scene::up("firstgate");
    let runtime = Runtime::listen();
    let socket = runtime.socket().display().to_string();
    let agent = Agent::start(&scene.lab, &world(true), &flags(&socket));
    let plugin = Mutex::new(Some(runtime.accept(&[])));
    let mut crowd = Crowd::new(&scene, None);
    crowd.start(PODS, Some(&plugin));
    crowd.nobody_arrived(PODS);
    assert_eq!(crowd.asked, PODS, "each waited for its answer");
    drop((crowd, plugin, agent));
    scene.lab.down().expect("it goes");
}

#[test]
fn while_the_agent_is_away_no_first_instruction_arrives() {
    let scene = Scene::up("firstaway");
    let mut agent = Agent::start(&scene.lab, &world(true), &[]);
    agent.kill();
    let mut crowd = Crowd::new(&scene, None);
    crowd.start(PODS, None);
    crowd.nobody_arrived(PODS);
    drop((crowd, agent));
    scene.lab.down().expect("it goes");
}

/// Replaces the agent by one with other layouts, again and again, until it is over.
fn upgrade(scene: &Scene, agent: &mut Agent, over: &AtomicBool) -> usize {
    let mut times = 0;
    while times < UPGRADES || !over.load(Ordering::Relaxed) {
        assert!(agent.stop(), "{}", agent.said());
        age(&scene.lab);
        agent.spawn();
        agent.wait_until_ready();
        times += 1;
    }
    times
}

#[test]
fn while_the_agent_is_upgraded_no_first_instruction_arrives() {
    let scene = Scene::up("firstgrade");
    let mut agent = Agent::start(&scene.lab, &world(true), &["--nri", "off"]);
    let mut crowd = Crowd::new(&scene, Some(agent.manifests()));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let upgrades = scope.spawn(|| upgrade(&scene, &mut agent, &over));
        crowd.start(PODS, None);
        over.store(true, Ordering::Relaxed);
        assert!(upgrades.join().expect("it does not panic") >= UPGRADES);
    });
    crowd.nobody_arrived(PODS);
    drop((crowd, agent));
    scene.lab.down().expect("it goes");
}

#[test]
fn while_the_agent_behind_the_gate_is_upgraded_no_first_instruction_arrives() {
    let scene = Scene::up("firstboth");
    let runtime = Runtime::listen();
    let socket = runtime.socket().display().to_string();
    let mut agent = Agent::start(&scene.lab, &world(true), &flags(&socket));
    let plugin: Mutex<Option<Plugin>> = Mutex::new(Some(runtime.accept(&[])));
    let mut crowd = Crowd::new(&scene, None);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let upgrades = scope.spawn(|| {
            let mut times = 0;
            while times < UPGRADES || !over.load(Ordering::Relaxed) {
                assert!(agent.stop(), "{}", agent.said());
                // A runtime goes on without its plugin.
                drop(plugin.lock().unwrap_or_else(PoisonError::into_inner).take());
                age(&scene.lab);
                agent.spawn();
                agent.wait_until_ready();
                let fresh = runtime.accept(&[]);
                *plugin.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
                times += 1;
            }
            times
        });
        crowd.start(PODS, Some(&plugin));
        over.store(true, Ordering::Relaxed);
        assert!(upgrades.join().expect("it does not panic") >= UPGRADES);
    });
    crowd.nobody_arrived(PODS);
    // Somebody came while there was a gate, whoever else did not.
    crowd.start(20, Some(&plugin));
    assert!(crowd.asked >= 20);
    crowd.nobody_arrived(PODS + 20);
    eventually("the agent is still well", || {
        agent.json(&["status"])["ready"].as_bool()
    });
    drop((crowd, plugin, agent));
    scene.lab.down().expect("it goes");
}
