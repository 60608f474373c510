//! Network devices, and the programs of traffic control on them.

use std::{collections::BTreeMap, future::Future};

use futures::TryStreamExt as _;
use rtnetlink::{
    Handle,
    packet_core::Nla as _,
    packet_route::{
        address::AddressAttribute,
        link::{LinkAttribute, LinkInfo, LinkMessage},
        tc::{TcAttribute, TcHandle, TcMessage, TcOption},
    },
};

use super::super::{Device, Program, Seen, Side};
use crate::dataplane;

/// Kind of filters that are programs.
const PROGRAM: &str = "bpf";
/// Attribute of such a filter that holds the program's name.
const TCA_BPF_NAME: u16 = 7;

/// Asks the kernel, on a thread of its own that ends with the answer.
fn ask<T: Send, F: Future<Output = Result<T, rtnetlink::Error>>>(
    question: impl FnOnce(Handle) -> F + Send,
) -> Seen<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build()
                .map_err(|error| error.to_string())?;
            runtime.block_on(async {
                let (connection, handle, _) =
                    rtnetlink::new_connection().map_err(|error| error.to_string())?;
                let connection = tokio::spawn(connection);
                let answer = question(handle).await;
                connection.abort();
                answer.map_err(|error| error.to_string())
            })
        });
        thread
            .join()
            .map_err(|_panic| "the thread that asked the kernel broke".to_owned())?
    })
}

/// Every device of this network namespace, in the order in which they were made.
pub(super) fn list() -> Seen<Vec<Device>> {
    ask(|handle| async move {
        let mut devices = BTreeMap::new();
        let mut links = handle.link().get().execute();
        while let Some(message) = links.try_next().await? {
            devices.insert(message.header.index, device(&message));
        }
        let mut addresses = handle.address().get().execute();
        while let Some(message) = addresses.try_next().await? {
            let address = message.attributes.iter().find_map(|it| match it {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            });
            if let Some(device) = devices.get_mut(&message.header.index) {
                device.addresses.extend(address);
            }
        }
        Ok(devices.into_values().collect())
    })
}

fn device(message: &LinkMessage) -> Device {
    let mut device = Device::default();
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => device.name.clone_from(name),
            LinkAttribute::LinkInfo(infos) => {
                device.kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    device
}

/// Programs on devices, by TCX and as filters.
pub(super) fn programs(devices: &[Device]) -> Seen<Vec<Program>> {
    let mut programs = filters()?;
    for device in devices {
        match dataplane::attached(&device.name) {
            Ok(attached) => programs.extend(attached.into_iter().map(|program| Program {
                device: device.name.clone(),
                side: if program.egress {
                    Side::Egress
                } else {
                    Side::Ingress
                },
                name: program.name,
                how: "tcx",
                ours: program.ours,
            })),
            // It went meanwhile, or the kernel has no TCX: then there are no such programs.
            Err(error) if dataplane::is_absent(&error) => {}
            Err(error) => return Err(format!("{}: {error}", device.name)),
        }
    }
    Ok(programs)
}

/// Programs that are filters of the queueing discipline `clsact` (or `ingress`).
fn filters() -> Seen<Vec<Program>> {
    ask(|handle| async move {
        let mut programs = Vec::new();
        let mut links = handle.link().get().execute();
        while let Some(message) = links.try_next().await? {
            let Ok(index) = i32::try_from(message.header.index) else {
                continue;
            };
            let device = device(&message).name;
            for side in [Side::Ingress, Side::Egress] {
                let request = handle.traffic_filter(index).get();
                let request = match side {
                    Side::Ingress => request.ingress(),
                    Side::Egress => request.egress(),
                };
                let mut answers = request.execute();
                // A device without such a discipline refuses the question.
                while let Ok(Some(filter)) = answers.try_next().await {
                    programs.extend(program(&filter).map(|name| Program {
                        device: device.clone(),
                        side,
                        ours: dataplane::is_ours(&name),
                        name,
                        how: "tc filter",
                    }));
                }
            }
        }
        Ok(programs)
    })
}

/// The name of the program that a filter is.
fn program(filter: &TcMessage) -> Option<String> {
    let is_program = filter
        .attributes
        .iter()
        .any(|it| matches!(it, TcAttribute::Kind(kind) if kind == PROGRAM));
    // The kernel also tells of the place itself, which is no filter.
    if !is_program || filter.header.handle == TcHandle::default() {
        return None;
    }
    let options = filter.attributes.iter().filter_map(|it| match it {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    });
    let name = options.flatten().find_map(|option| match option {
        TcOption::Other(nla) if nla.kind() == TCA_BPF_NAME => {
            let mut bytes = vec![0; nla.value_len()];
            nla.emit_value(&mut bytes);
            let text = String::from_utf8_lossy(&bytes);
            Some(text.trim_end_matches('\0').to_owned())
        }
        _ => None,
    });
    Some(name.unwrap_or_else(|| "without a name".to_owned()))
}
