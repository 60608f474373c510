# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_ringfence_global_optspecs
    string join \n h/help V/version
end

function __fish_ringfence_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_ringfence_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_ringfence_using_subcommand
    set -l cmd (__fish_ringfence_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c ringfence -n "__fish_ringfence_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ringfence -n "__fish_ringfence_needs_command" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_needs_command" -f -a "agent" -d 'Enforce the policies on this machine. Needs: root'
complete -c ringfence -n "__fish_ringfence_needs_command" -f -a "lab" -d 'Pods made of network namespaces, to try things out on one machine. Needs: root'
complete -c ringfence -n "__fish_ringfence_needs_command" -f -a "check" -d 'Say what on this node is in Ringfence\'s way, before it is installed or after. Needs: root, to see everything'
complete -c ringfence -n "__fish_ringfence_needs_command" -f -a "status" -d 'Say how the agent is. Needs: a running agent'
complete -c ringfence -n "__fish_ringfence_needs_command" -f -a "endpoints" -d 'List the pods of this node as the kernel knows them. Needs: a running agent'
complete -c ringfence -n "__fish_ringfence_needs_command" -f -a "can" -d 'Say whether FROM may reach TO, and which rule decides. Needs: nothing (offline, from manifests)'
complete -c ringfence -n "__fish_ringfence_needs_command" -f -a "matrix" -d 'Show who may reach which pod on which port. Needs: nothing (offline, from manifests)'
complete -c ringfence -n "__fish_ringfence_needs_command" -f -a "lint" -d 'Say what in manifests is allowed and hardly meant. Needs: nothing (offline, from manifests)'
complete -c ringfence -n "__fish_ringfence_needs_command" -f -a "observe" -d 'Show what was denied, and by which rule. Needs: a running agent'
complete -c ringfence -n "__fish_ringfence_needs_command" -f -a "ct" -d 'Look at or forget tracked connections. Needs: a running agent'
complete -c ringfence -n "__fish_ringfence_needs_command" -f -a "bpf" -d 'Look at maps and links in the kernel. Needs: a running agent'
complete -c ringfence -n "__fish_ringfence_needs_command" -f -a "sysdump" -d 'Collect what helps to find out what is wrong into one archive, secrets left out. Needs: root; a running agent only for what it alone knows'
complete -c ringfence -n "__fish_ringfence_needs_command" -f -a "detach" -d 'Take all enforcement off this machine: detach programs, remove pins. Needs: root, and no running agent'
complete -c ringfence -n "__fish_ringfence_needs_command" -f -a "metadata" -d 'Say who may reach the clouds\' metadata services, and who has tried'
complete -c ringfence -n "__fish_ringfence_needs_command" -f -a "version" -d 'Print the version. Needs: nothing'
complete -c ringfence -n "__fish_ringfence_needs_command" -f -a "completion" -d 'Print a completion script for a shell. Needs: nothing'
complete -c ringfence -n "__fish_ringfence_needs_command" -f -a "man" -d 'Write man pages into a directory. Needs: nothing'
complete -c ringfence -n "__fish_ringfence_needs_command" -f -a "crds" -d 'Print the definitions (CRDs) of Ringfence\'s kinds. Needs: nothing'
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l manifests -d 'File or directory of YAML to enforce, watched for changes; `-` is standard input. May be repeated. Without it, the objects are those of a cluster: of --kubeconfig or --context, of KUBECONFIG, or of the one that this runs in as a pod' -r -F
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l kubeconfig -d 'File that names the cluster to read, and who to be there' -r -F
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l context -d 'The context of the kubeconfig; without it, its current one' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l state-dir -d 'Directory where the last known state of a cluster is kept, for a node that starts without its API server; `off` for none. Without it: /var/lib/ringfence' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l node -d 'Name of this node: pods bound to it are this agent\'s, and no others. Needed for a cluster; with manifests and without it, every pod that says where it is on this machine is this agent\'s' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l pod -d 'The pod that this runs in: it may reach the metadata services without a grant, as the rest of the node may, and the status of zones and policies is written by one of the pods of its DaemonSet for all of them' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l netns -d 'Enter this network namespace first: a name below /run/netns, or a path' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l netns-prefix -d 'Put before the network namespace names of pods\' annotation `ringfence.dev/netns` (of manifests, or with --trust-place-annotations)' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l netns-directory -d 'Where CNI plugins and container runtimes keep the network namespaces of pods that do not say where they are. May be repeated' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l pod-processes -d 'Find pods by the processes in their cgroups too. Takes the node\'s process ids (hostPID), CAP_SYS_PTRACE and `--cgroup-root`' -r -f -a "on\t'Yes'
off\t'No'"
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l cgroup-root -d 'Root of the pods\' cgroup subtree (cgroup v2), where the socket hooks attach: `auto` finds where the kubelet has it. Without it there are none' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l node-cgroup -d 'Root of the cgroups (cgroup v2) whose sockets may be the node\'s own, where what pods send to them through a Service is judged: `auto` is the root of all' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l host-enforcement -d 'Judge what the node itself sends and receives at its uplinks by the zones that it is in: `audit` denies nothing and tells what would be' -r -f -a "off\t'It is not'
audit\t'Nothing is denied; what would be is told'
enforce\t'It is'"
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l host-failsafe -d 'A way that no policy closes to the node, besides the usual ones (SSH, kubelet, API server, DNS, NTP, DHCP), such as `bgp=ingress,10.0.0.0/8,tcp/179`. May be repeated' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l nri -d 'Let the container runtime start a pod only when it is protected: `auto` if objects come from the Kubernetes API and there is a socket' -r -f -a "auto\t'Where there is one'
on\t'Yes, and it is worth a word if there is none'
off\t'No'"
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l nri-socket -d 'The container runtime\'s NRI socket' -r -F
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l nri-timeout -d 'Most milliseconds that a pod waits; never more than three quarters of what the runtime says that it waits (2 seconds where it does not say)' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l nri-fail -d 'What becomes of a pod that is not protected in time: `open` starts it, counted and named; `closed` does not, and the kubelet tries again' -r -f -a "open\t'It starts'
closed\t'It does not'"
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l bpffs -d 'Directory for pins; must be on a bpffs' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l run-dir -d 'Directory for the agent\'s socket and lock' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l http -d 'Address of /metrics, /livez and /readyz; port 0 takes a free one; `off` for none' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l metadata-annotations -d 'Whose pods\' annotation `metadata.ringfence.dev/access` counts: `all`, `none`, or namespaces by a label selector such as `team=infra,env!=dev`' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l metadata-rate -d 'Packets a second that one pod with a grant may send to metadata endpoints; what is over is dropped and counted. 0 for any number' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l nat64-prefix -d 'A prefix by which IPv6 reaches IPv4 here (NAT64, RFC 6052), besides 64:ff9b::/96: metadata addresses behind it are denied like others. May be repeated' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l metadata-layers -d 'Where the metadata firewall asks: for tests and measurements' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l network-policy -d 'Who enforces NetworkPolicy and ClusterNetworkPolicy: `on`, Ringfence; `off`, the container network, and Ringfence only zones, tenants and the metadata firewall; `auto`, the container network if that of --cni-dir is one that is known to do so when the agent starts' -r -f -a "on\t'Ringfence'
off\t'The container network'
auto\t'The container network if it is known to do so'"
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l cni-dir -d 'Directory of the container network\'s configuration, for `--network-policy auto`' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l connection-entries -d 'Most IPv4 connections that are tracked (of IPv6 half as many); the oldest make room' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l address-entries -d 'Most single addresses that are told apart, for each family' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l network-entries -d 'Most networks that are told apart, for each family' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l identity-entries -d 'Most classes of addresses that policies treat alike' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l class-entries -d 'Most (table, identity) pairs' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l table-entries -d 'Most decision tables' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l cell-entries -d 'Most verdict cells, over all tables' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l page-entries -d 'Most pages of port maps, over all tables' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l endpoint-entries -d 'Most endpoint records: twice the number of pods, for they are replaced and not edited' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l service-entries -d 'Most addresses and ports of Services, each protocol by itself' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l rule-entries -d 'Most rules' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l mark-source-mask -d 'Bits of the packet mark that carry the sending pod: one run of bits' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l mark-proof-mask -d 'Bit of the packet mark that says, while the MetadataFirewall is in Audit, that a flow was told of' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l event-rate -d 'Most events a second from each CPU; what is over is counted, never dropped traffic' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l audit-interval -d 'Seconds between looks at whether the kernel still holds what was put there; what does not is counted and repaired' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l kube-event-interval -d 'Least seconds between two words about the same thing as a Kubernetes Event (denied metadata access, policies that are not in force); 0 writes no Events. Without a cluster there are none' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l tcx -d 'Attach by TCX (kernel 6.6 and later) or by the clsact queueing discipline' -r -f -a "auto\t'By TCX where the kernel has it'
on\t'By TCX or not at all'
off\t'By clsact'"
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l log-format -d 'How to log: text to standard error; json also prints each denied flow to standard output' -r -f -a "text\t'For people'
json\t'One JSON object in each line'"
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l ignore-other-kinds -d 'Pass over objects of kinds that are not read, such as Deployments, instead of refusing them'
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l trust-place-annotations -d 'Believe pods of the Kubernetes API, not only those of manifests, that say where they are (annotations `ringfence.dev/netns`, `ringfence.dev/interface`, `ringfence.dev/cgroup`). For tests and labs: whoever may create pods can then choose whose interface their policies govern'
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -l iam-role-annotation -d 'Count the annotation `iam.amazonaws.com/role` like `metadata.ringfence.dev/access`'
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -s v -l verbose -d 'Log more; twice for everything'
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ringfence -n "__fish_ringfence_using_subcommand agent" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and not __fish_seen_subcommand_from up exec down status demo pod enter" -s h -l help -d 'Print help'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and not __fish_seen_subcommand_from up exec down status demo pod enter" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and not __fish_seen_subcommand_from up exec down status demo pod enter" -f -a "up" -d 'Build a lab from a directory with `lab.yaml` and `manifests`, and leave it up'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and not __fish_seen_subcommand_from up exec down status demo pod enter" -f -a "exec" -d 'Run a program in a pod\'s network namespace and cgroup'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and not __fish_seen_subcommand_from up exec down status demo pod enter" -f -a "down" -d 'Take a lab down, or what is left of it'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and not __fish_seen_subcommand_from up exec down status demo pod enter" -f -a "status" -d 'Show the labs that are up, who is in them, and where'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and not __fish_seen_subcommand_from up exec down status demo pod enter" -f -a "demo" -d 'Show what policy does: a lab without and with it, and the reasons of denials'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and not __fish_seen_subcommand_from up exec down status demo pod enter" -f -a "pod" -d 'Be a pod'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and not __fish_seen_subcommand_from up exec down status demo pod enter" -f -a "enter" -d 'Become a program in a cgroup'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from up" -l name -d 'The lab\'s name: lowercase letters and digits' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from up" -s h -l help -d 'Print help'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from up" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from exec" -l name -d 'The lab\'s name: lowercase letters and digits' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from exec" -s h -l help -d 'Print help'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from exec" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from down" -l name -d 'The lab\'s name: lowercase letters and digits' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from down" -s h -l help -d 'Print help'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from down" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from status" -l name -d 'Only this lab' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from status" -s o -l output -d 'Form of the output' -r -f -a "table\t'For people'
json\t'JSON'
yaml\t'YAML'"
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from status" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from demo" -l name -d 'The lab\'s name: lowercase letters and digits' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from demo" -l keep -d 'Leave the lab up, with the agent in it'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from demo" -s h -l help -d 'Print help'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from demo" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from pod" -s h -l help -d 'Print help'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from pod" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from enter" -l cgroup -d 'The cgroup' -r -F
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from enter" -l die-with-parent -d 'Be killed when the parent ends'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from enter" -s h -l help -d 'Print help'
complete -c ringfence -n "__fish_ringfence_using_subcommand lab; and __fish_seen_subcommand_from enter" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand check" -l bpffs -d 'Directory where the pins shall be' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand check" -l cni-dir -d 'Directory of the container network\'s configuration' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand check" -l mark-source-mask -d 'Bits of the packet mark that shall carry the sending pod' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand check" -l mark-proof-mask -d 'Bit of the packet mark that shall say that an audit has told of a packet\'s flow' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand check" -s o -l output -d 'How to print' -r -f -a "table\t'For people'
json\t'JSON with apiVersion and kind'
yaml\t'The same as YAML'"
complete -c ringfence -n "__fish_ringfence_using_subcommand check" -l context -d 'The kubeconfig\'s context that kubectl shall use' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand check" -l on-node -d 'Only the agent of this node; may be repeated' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand check" -l daemon-set -d 'The agents are the pods of this DaemonSet. Without it: of the only one that is labelled app.kubernetes.io/part-of=ringfence' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand check" -s n -l namespace -d 'Look for that DaemonSet in this namespace only' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand check" -l timeout -d 'Most seconds for each question to a node or to the API server; --follow goes on for as long as it likes' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand check" -l no-headers -d 'No header line in tables'
complete -c ringfence -n "__fish_ringfence_using_subcommand check" -l all-nodes -d 'Ask every node\'s agent, through `kubectl exec`; as `kubectl ringfence` that is understood'
complete -c ringfence -n "__fish_ringfence_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ringfence -n "__fish_ringfence_using_subcommand check" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand status" -l run-dir -d 'Directory of the agent\'s socket. Without it: /run/ringfence, or the one lab that runs' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand status" -s o -l output -d 'How to print' -r -f -a "table\t'For people'
json\t'JSON with apiVersion and kind'
yaml\t'The same as YAML'"
complete -c ringfence -n "__fish_ringfence_using_subcommand status" -l context -d 'The kubeconfig\'s context that kubectl shall use' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand status" -l on-node -d 'Only the agent of this node; may be repeated' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand status" -l daemon-set -d 'The agents are the pods of this DaemonSet. Without it: of the only one that is labelled app.kubernetes.io/part-of=ringfence' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand status" -s n -l namespace -d 'Look for that DaemonSet in this namespace only' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand status" -l timeout -d 'Most seconds for each question to a node or to the API server; --follow goes on for as long as it likes' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand status" -l no-headers -d 'No header line in tables'
complete -c ringfence -n "__fish_ringfence_using_subcommand status" -l all-nodes -d 'Ask every node\'s agent, through `kubectl exec`; as `kubectl ringfence` that is understood'
complete -c ringfence -n "__fish_ringfence_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ringfence -n "__fish_ringfence_using_subcommand status" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand endpoints" -l run-dir -d 'Directory of the agent\'s socket. Without it: /run/ringfence, or the one lab that runs' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand endpoints" -s o -l output -d 'How to print' -r -f -a "table\t'For people'
json\t'JSON with apiVersion and kind'
yaml\t'The same as YAML'"
complete -c ringfence -n "__fish_ringfence_using_subcommand endpoints" -l context -d 'The kubeconfig\'s context that kubectl shall use' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand endpoints" -l on-node -d 'Only the agent of this node; may be repeated' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand endpoints" -l daemon-set -d 'The agents are the pods of this DaemonSet. Without it: of the only one that is labelled app.kubernetes.io/part-of=ringfence' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand endpoints" -s n -l namespace -d 'Look for that DaemonSet in this namespace only' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand endpoints" -l timeout -d 'Most seconds for each question to a node or to the API server; --follow goes on for as long as it likes' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand endpoints" -l no-headers -d 'No header line in tables'
complete -c ringfence -n "__fish_ringfence_using_subcommand endpoints" -l all-nodes -d 'Ask every node\'s agent, through `kubectl exec`; as `kubectl ringfence` that is understood'
complete -c ringfence -n "__fish_ringfence_using_subcommand endpoints" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ringfence -n "__fish_ringfence_using_subcommand endpoints" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand can" -s f -l filename -d 'File or directory of YAML; `-` is standard input. May be repeated' -r -F
complete -c ringfence -n "__fish_ringfence_using_subcommand can" -l network-policy -d '`off` as where the agent leaves NetworkPolicy and ClusterNetworkPolicy to the container network: they are passed over' -r -f -a "on\t'Yes'
off\t'No'"
complete -c ringfence -n "__fish_ringfence_using_subcommand can" -s o -l output -d 'How to print' -r -f -a "table\t'For people'
json\t'JSON with apiVersion and kind'
yaml\t'The same as YAML'"
complete -c ringfence -n "__fish_ringfence_using_subcommand can" -l ignore-other-kinds -d 'Pass over objects of kinds that are not read, such as Deployments, instead of refusing them'
complete -c ringfence -n "__fish_ringfence_using_subcommand can" -l no-headers -d 'No header line in tables'
complete -c ringfence -n "__fish_ringfence_using_subcommand can" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ringfence -n "__fish_ringfence_using_subcommand can" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand matrix" -s f -l filename -d 'File or directory of YAML; `-` is standard input. May be repeated' -r -F
complete -c ringfence -n "__fish_ringfence_using_subcommand matrix" -l network-policy -d '`off` as where the agent leaves NetworkPolicy and ClusterNetworkPolicy to the container network: they are passed over' -r -f -a "on\t'Yes'
off\t'No'"
complete -c ringfence -n "__fish_ringfence_using_subcommand matrix" -l outside -d 'An address outside, as one more row: `NAME=ADDRESS`, or an address. May be repeated' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand matrix" -l port -d 'Only ports of this protocol and number: `443` or `53/udp`. May be repeated; without it every container port' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand matrix" -s o -l output -d 'How to print' -r -f -a "table\t'For people'
json\t'JSON with apiVersion and kind'
yaml\t'The same as YAML'"
complete -c ringfence -n "__fish_ringfence_using_subcommand matrix" -l ignore-other-kinds -d 'Pass over objects of kinds that are not read, such as Deployments, instead of refusing them'
complete -c ringfence -n "__fish_ringfence_using_subcommand matrix" -l no-headers -d 'No header line in tables'
complete -c ringfence -n "__fish_ringfence_using_subcommand matrix" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ringfence -n "__fish_ringfence_using_subcommand matrix" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand lint" -s f -l filename -d 'File or directory of YAML; `-` is standard input. May be repeated' -r -F
complete -c ringfence -n "__fish_ringfence_using_subcommand lint" -l network-policy -d '`off` as where the agent leaves NetworkPolicy and ClusterNetworkPolicy to the container network: they are passed over' -r -f -a "on\t'Yes'
off\t'No'"
complete -c ringfence -n "__fish_ringfence_using_subcommand lint" -s o -l output -d 'How to print' -r -f -a "table\t'For people'
json\t'JSON with apiVersion and kind'
sarif\t'SARIF 2.1.0, for what shows findings beside changes'"
complete -c ringfence -n "__fish_ringfence_using_subcommand lint" -l ignore-other-kinds -d 'Pass over objects of kinds that are not read, such as Deployments, instead of refusing them'
complete -c ringfence -n "__fish_ringfence_using_subcommand lint" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ringfence -n "__fish_ringfence_using_subcommand lint" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand observe" -l verdict -d 'Only these verdicts' -r -f -a "allow\t'Allowed, whatever is in audit'
deny\t'Denied, whatever is in audit'
would-deny\t'Allowed, but denied with everything in audit enforced'
would-allow\t'Denied, but allowed with everything in audit enforced'"
complete -c ringfence -n "__fish_ringfence_using_subcommand observe" -l from -d 'Only from this source: `NAMESPACE/NAME`, an address or a network' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand observe" -l to -d 'Only to this destination: the same' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand observe" -l port -d 'Only to this destination port' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand observe" -l last -d 'Only the last N of those that the agent remembers; with --follow, how many to begin with' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand observe" -s o -l output -d 'How to print' -r -f -a "table\t'For people'
jsonl\t'One JSON object in each line'"
complete -c ringfence -n "__fish_ringfence_using_subcommand observe" -l run-dir -d 'Directory of the agent\'s socket. Without it: /run/ringfence, or the one lab that runs' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand observe" -l context -d 'The kubeconfig\'s context that kubectl shall use' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand observe" -l on-node -d 'Only the agent of this node; may be repeated' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand observe" -l daemon-set -d 'The agents are the pods of this DaemonSet. Without it: of the only one that is labelled app.kubernetes.io/part-of=ringfence' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand observe" -s n -l namespace -d 'Look for that DaemonSet in this namespace only' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand observe" -l timeout -d 'Most seconds for each question to a node or to the API server; --follow goes on for as long as it likes' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand observe" -s f -l follow -d 'Go on with what happens from now on'
complete -c ringfence -n "__fish_ringfence_using_subcommand observe" -l all-nodes -d 'Ask every node\'s agent, through `kubectl exec`; as `kubectl ringfence` that is understood'
complete -c ringfence -n "__fish_ringfence_using_subcommand observe" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ringfence -n "__fish_ringfence_using_subcommand observe" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand ct; and not __fish_seen_subcommand_from list flush" -s h -l help -d 'Print help'
complete -c ringfence -n "__fish_ringfence_using_subcommand ct; and not __fish_seen_subcommand_from list flush" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand ct; and not __fish_seen_subcommand_from list flush" -f -a "list" -d 'List them. Needs: a running agent'
complete -c ringfence -n "__fish_ringfence_using_subcommand ct; and not __fish_seen_subcommand_from list flush" -f -a "flush" -d 'Forget them: what goes on is judged anew. Needs: a running agent'
complete -c ringfence -n "__fish_ringfence_using_subcommand ct; and __fish_seen_subcommand_from list" -l local -d 'The pod\'s address, or a network that holds it' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand ct; and __fish_seen_subcommand_from list" -l remote -d 'The other side\'s address, or a network that holds it' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand ct; and __fish_seen_subcommand_from list" -l port -d 'A port of either side' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand ct; and __fish_seen_subcommand_from list" -l protocol -d 'Protocol: tcp, udp, sctp, icmp or a number' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand ct; and __fish_seen_subcommand_from list" -l run-dir -d 'Directory of the agent\'s socket. Without it: /run/ringfence, or the one lab that runs' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand ct; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print' -r -f -a "table\t'For people'
json\t'JSON with apiVersion and kind'
yaml\t'The same as YAML'"
complete -c ringfence -n "__fish_ringfence_using_subcommand ct; and __fish_seen_subcommand_from list" -l no-headers -d 'No header line in tables'
complete -c ringfence -n "__fish_ringfence_using_subcommand ct; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ringfence -n "__fish_ringfence_using_subcommand ct; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand ct; and __fish_seen_subcommand_from flush" -l local -d 'The pod\'s address, or a network that holds it' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand ct; and __fish_seen_subcommand_from flush" -l remote -d 'The other side\'s address, or a network that holds it' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand ct; and __fish_seen_subcommand_from flush" -l port -d 'A port of either side' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand ct; and __fish_seen_subcommand_from flush" -l protocol -d 'Protocol: tcp, udp, sctp, icmp or a number' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand ct; and __fish_seen_subcommand_from flush" -l run-dir -d 'Directory of the agent\'s socket. Without it: /run/ringfence, or the one lab that runs' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand ct; and __fish_seen_subcommand_from flush" -l all -d 'Every connection: needed if there is no filter'
complete -c ringfence -n "__fish_ringfence_using_subcommand ct; and __fish_seen_subcommand_from flush" -s h -l help -d 'Print help'
complete -c ringfence -n "__fish_ringfence_using_subcommand ct; and __fish_seen_subcommand_from flush" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand bpf; and not __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c ringfence -n "__fish_ringfence_using_subcommand bpf; and not __fish_seen_subcommand_from show" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand bpf; and not __fish_seen_subcommand_from show" -f -a "show" -d 'Show pins: type, entries, memory, id; or elements of CELLS and their rules. Needs: a running agent'
complete -c ringfence -n "__fish_ringfence_using_subcommand bpf; and __fish_seen_subcommand_from show" -l endpoint -d 'The elements of CELLS that this pod\'s packets can meet' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand bpf; and __fish_seen_subcommand_from show" -l cell -d 'This element of CELLS, of every pod that meets it' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand bpf; and __fish_seen_subcommand_from show" -l run-dir -d 'Directory of the agent\'s socket. Without it: /run/ringfence, or the one lab that runs' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand bpf; and __fish_seen_subcommand_from show" -s o -l output -d 'How to print' -r -f -a "table\t'For people'
json\t'JSON with apiVersion and kind'
yaml\t'The same as YAML'"
complete -c ringfence -n "__fish_ringfence_using_subcommand bpf; and __fish_seen_subcommand_from show" -l no-headers -d 'No header line in tables'
complete -c ringfence -n "__fish_ringfence_using_subcommand bpf; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ringfence -n "__fish_ringfence_using_subcommand bpf; and __fish_seen_subcommand_from show" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand sysdump" -s o -l output -d 'The archive to write; `-` is standard output. Without it: ringfence-sysdump-TIME.tar.gz' -r -F
complete -c ringfence -n "__fish_ringfence_using_subcommand sysdump" -l bpffs -d 'Directory of the pins' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand sysdump" -l pod-logs -d 'Directory of the logs of this node\'s pods' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand sysdump" -l run-dir -d 'Directory of the agent\'s socket. Without it: /run/ringfence, or the one lab that runs' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand sysdump" -l context -d 'The kubeconfig\'s context that kubectl shall use' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand sysdump" -l on-node -d 'Only the agent of this node; may be repeated' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand sysdump" -l daemon-set -d 'The agents are the pods of this DaemonSet. Without it: of the only one that is labelled app.kubernetes.io/part-of=ringfence' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand sysdump" -s n -l namespace -d 'Look for that DaemonSet in this namespace only' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand sysdump" -l timeout -d 'Most seconds for each question to a node or to the API server; --follow goes on for as long as it likes' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand sysdump" -l all-nodes -d 'Ask every node\'s agent, through `kubectl exec`; as `kubectl ringfence` that is understood'
complete -c ringfence -n "__fish_ringfence_using_subcommand sysdump" -s h -l help -d 'Print help'
complete -c ringfence -n "__fish_ringfence_using_subcommand sysdump" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand detach" -l bpffs -d 'Directory of the pins' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand detach" -l run-dir -d 'Directory of the agent\'s lock: a running agent is in the way' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand detach" -l netns -d 'Enter this network namespace first: a name below /run/netns, or a path' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand detach" -l state-dir -d 'Directory where the last known state of a cluster is kept: it is forgotten; `off` leaves it. Without it: /var/lib/ringfence, unless the pins are elsewhere than usual' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand detach" -l cgroup-root -d 'Root of the pods\' cgroup subtree' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand detach" -l daemon-set -d 'Not on this node, but on every node of a cluster: makes the pods of the agents\' DaemonSet detach and stay, and waits until they have. Needs the verbs get and patch on it' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand detach" -l release -d 'Only if helm has installed the DaemonSet as this release' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand detach" -l timeout -d 'Most seconds that all nodes may take' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand detach" -l kubeconfig -d 'File that names the cluster, and who to be there' -r -F
complete -c ringfence -n "__fish_ringfence_using_subcommand detach" -l context -d 'The context of the kubeconfig; without it, its current one' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand detach" -l stay -d 'Keep running afterwards, and other agents from starting, until told to stop'
complete -c ringfence -n "__fish_ringfence_using_subcommand detach" -l host -d 'Take off only what the node itself is judged by, whether or not an agent runs: the way back in'
complete -c ringfence -n "__fish_ringfence_using_subcommand detach" -l undo -d 'Let the agent judge the node itself again'
complete -c ringfence -n "__fish_ringfence_using_subcommand detach" -l done -d 'Take nothing off, but say whether a `detach --stay` with this --run-dir has taken everything off: exit 0, else 1'
complete -c ringfence -n "__fish_ringfence_using_subcommand detach" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ringfence -n "__fish_ringfence_using_subcommand detach" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and not __fish_seen_subcommand_from who-can report guard" -s h -l help -d 'Print help'
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and not __fish_seen_subcommand_from who-can report guard" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and not __fish_seen_subcommand_from who-can report guard" -f -a "who-can" -d 'List the pods that may reach a metadata endpoint, by what, and until when. Needs: a running agent; nothing with -f'
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and not __fish_seen_subcommand_from who-can report guard" -f -a "report" -d 'List every pod that may reach metadata or was lately denied it. Needs: a running agent; nothing with -f'
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and not __fish_seen_subcommand_from who-can report guard" -f -a "guard" -d 'Put up at boot, before the kubelet and without an agent, what denies metadata to pods that nobody knows yet. Needs: root'
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from who-can" -s f -l filename -d 'Ask manifests instead of an agent: file or directory of YAML; `-` is standard input. May be repeated' -r -F
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from who-can" -l run-dir -d 'Directory of the agent\'s socket. Without it: /run/ringfence, or the one lab that runs' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from who-can" -s o -l output -d 'How to print' -r -f -a "table\t'For people'
json\t'JSON with apiVersion and kind'
yaml\t'The same as YAML'"
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from who-can" -l context -d 'The kubeconfig\'s context that kubectl shall use' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from who-can" -l on-node -d 'Only the agent of this node; may be repeated' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from who-can" -l daemon-set -d 'The agents are the pods of this DaemonSet. Without it: of the only one that is labelled app.kubernetes.io/part-of=ringfence' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from who-can" -s n -l namespace -d 'Look for that DaemonSet in this namespace only' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from who-can" -l timeout -d 'Most seconds for each question to a node or to the API server; --follow goes on for as long as it likes' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from who-can" -l ignore-other-kinds -d 'Pass over objects of kinds that are not read, such as Deployments, instead of refusing them'
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from who-can" -l no-headers -d 'No header line in tables'
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from who-can" -l all-nodes -d 'Ask every node\'s agent, through `kubectl exec`; as `kubectl ringfence` that is understood'
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from who-can" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from who-can" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from report" -l from -d 'Print the grants to write for the pods that get metadata without one now. Of kube2iam and kiam it reads namespaces, pods and the MetadataFirewall, with -f, else by kubectl; of audit it asks the agents' -r -f -a "kube2iam\t'kube2iam: pods\' annotation `iam.amazonaws.com/role`, namespaces\' `iam.amazonaws.com/allowed-roles`; a namespace without that is not narrowed, which is so unless kube2iam runs with --namespace-restrictions'
kiam\t'kiam: pods\' annotation `iam.amazonaws.com/role`, namespaces\' `iam.amazonaws.com/permitted`, without which they get no role'
audit\t'Directly, while the MetadataFirewall is in Audit: what the agents have seen since they started'"
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from report" -l endpoint -d 'The endpoint that these grants open, of the built-in catalogue or of the MetadataFirewall; may be repeated. Without: imds; of audit, whatever was reached' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from report" -l namespace-restriction-format -d 'What kube2iam takes `iam.amazonaws.com/allowed-roles` for: what its flag of this name says; without: glob. Only with --from kube2iam' -r -f -a "glob\t'Names and ARNs in which `*` stands for anything'
regexp\t'Regular expressions, of which one has to be found in the role\'s name or ARN'"
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from report" -s f -l filename -d 'Ask manifests instead of an agent: file or directory of YAML; `-` is standard input. May be repeated' -r -F
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from report" -l run-dir -d 'Directory of the agent\'s socket. Without it: /run/ringfence, or the one lab that runs' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from report" -s o -l output -d 'How to print' -r -f -a "table\t'For people'
json\t'JSON with apiVersion and kind'
yaml\t'The same as YAML'"
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from report" -l context -d 'The kubeconfig\'s context that kubectl shall use' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from report" -l on-node -d 'Only the agent of this node; may be repeated' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from report" -l daemon-set -d 'The agents are the pods of this DaemonSet. Without it: of the only one that is labelled app.kubernetes.io/part-of=ringfence' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from report" -s n -l namespace -d 'Look for that DaemonSet in this namespace only' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from report" -l timeout -d 'Most seconds for each question to a node or to the API server; --follow goes on for as long as it likes' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from report" -l ignore-other-kinds -d 'Pass over objects of kinds that are not read, such as Deployments, instead of refusing them'
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from report" -l no-headers -d 'No header line in tables'
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from report" -l all-nodes -d 'Ask every node\'s agent, through `kubectl exec`; as `kubectl ringfence` that is understood'
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from report" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from guard" -s f -l filename -d 'Deny too what a MetadataFirewall in these manifests adds to the catalogue: file or directory of YAML; `-` is standard input. May be repeated' -r -F
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from guard" -l cgroup-root -d 'Root of the pods\' cgroup subtree (cgroup v2), made if it is not there: a directory; `systemd` and `cgroupfs` for where kubelets with that driver have it; `auto` for where it is, else as goes with this machine\'s init; `off` for no socket hooks' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from guard" -l node-cgroup -d 'Root of the cgroups (cgroup v2) whose sockets may be the node\'s own: `auto` is the root of all' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from guard" -l netns -d 'Enter this network namespace first: a name below /run/netns, or a path' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from guard" -l bpffs -d 'Directory for pins, the agent\'s; must be on a bpffs' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from guard" -l run-dir -d 'Directory of the agent\'s lock' -r -f -a "(__fish_complete_directories)"
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from guard" -l nat64-prefix -d 'A prefix by which IPv6 reaches IPv4 here (NAT64, RFC 6052), besides 64:ff9b::/96. May be repeated' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from guard" -l mark-source-mask -d 'Bits of the packet mark that carry the sending pod, the agent\'s' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from guard" -l mark-proof-mask -d 'Bit of the packet mark that says, in Audit, that a packet\'s flow was told of; the agent\'s' -r
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from guard" -l tcx -d 'Attach by TCX (kernel 6.6 and later) or by the clsact queueing discipline, as the agent does' -r -f -a "auto\t'By TCX where the kernel has it'
on\t'By TCX or not at all'
off\t'By clsact'"
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from guard" -s o -l output -d 'How to print' -r -f -a "table\t'For people'
json\t'JSON with apiVersion and kind'
yaml\t'The same as YAML'"
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from guard" -l ignore-other-kinds -d 'Pass over objects of kinds that are not read, such as Deployments, instead of refusing them'
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from guard" -l watch -d 'Stay, and guard uplinks that appear, until an agent has taken over. Tells systemd (Type=notify) when everything stands; a layer that does not is tried again every ten seconds'
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from guard" -l no-headers -d 'No header line in tables'
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from guard" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ringfence -n "__fish_ringfence_using_subcommand metadata; and __fish_seen_subcommand_from guard" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand version" -s o -l output -d 'How to print' -r -f -a "table\t'For people'
json\t'JSON with apiVersion and kind'
yaml\t'The same as YAML'"
complete -c ringfence -n "__fish_ringfence_using_subcommand version" -l no-headers -d 'No header line in tables'
complete -c ringfence -n "__fish_ringfence_using_subcommand version" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ringfence -n "__fish_ringfence_using_subcommand version" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand completion" -s h -l help -d 'Print help'
complete -c ringfence -n "__fish_ringfence_using_subcommand completion" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand man" -s h -l help -d 'Print help'
complete -c ringfence -n "__fish_ringfence_using_subcommand man" -s V -l version -d 'Print version'
complete -c ringfence -n "__fish_ringfence_using_subcommand crds" -s h -l help -d 'Print help'
complete -c ringfence -n "__fish_ringfence_using_subcommand crds" -s V -l version -d 'Print version'
