using System.CommandLine;
using Edge.Ctl.Commands;

var root = new RootCommand("""
    edgectl sets up and looks after Edge: it starts a whole Edge on this machine, joins nodes, handles tokens and images, and shows and sets
    the devices.

    Examples:
      edgectl init --advertise-address 192.0.2.1             cloudcore into an existing cluster
      edgectl up                                             a whole Edge on this machine, with a live table, until Ctrl-C
      edgectl up --check                                     proves the main job and exits
      edgectl gettoken --kubeconfig admin.kubeconfig         a token with which a node may join
      edgectl token create --node edge-1 --ttl 2h            a token for one node alone
      edgectl join -e CLOUD:10000 --token TOKEN -i edge-1    writes edgecore.yaml for this node
      edgectl get devices -A -w                              what every device is to do and does, live
      edgectl device set default/press-3 setpoint=23 --wait  sets a value and waits until the device has it
      edgectl get pods                                       on a node: what it holds, with and without the cloud
      edgectl logs web --tail 20                             on a node: a container's log
      edgectl debug check                                    on a node: what is wrong, and the fix
      edgectl dns explain shop.example.com --from 192.0.2.7  which endpoint a client gets, and why
      edgectl backup -o edge.tar.gz                          everything of the embedded API in one file, while it runs
      edgectl upgrade edge --package P.tar.gz --to 0.2.0     on a node: a signed new edgecore; the former one comes back by itself if it fails
      edgectl image import busybox.tar                       an image for pods on this node, without a registry
    """)
{
    UpCommand.Create(),
    UpCommand.CreateJanitor(),
    InitCommand.Create(),
    JoinCommand.Create(),
    ResetCommand.Create(),
    ConfigCommand.Create(),
    BatchCommand.Create(),
    GetTokenCommand.Create(),
    TokenCommand.Create(),
    CaCommand.Create(),
    ImageCommand.Create(),
    GetCommand.Create(),
    NodeCommands.CreateDescribe(),
    NodeCommands.CreateLogs(),
    NodeCommands.CreateExec(),
    DebugCommand.Create(),
    CompletionCommand.Create(),
    DeviceCommand.Create(),
    MqttCommand.Create(),
    DnsCommand.Create(),
    BackupCommand.Create(),
    BackupCommand.CreateRestore(),
    UpgradeCommand.Create(),
    UpgradeCommand.CreateRollBack(),
};

// A clean stop takes its time: pods, containerd and the hub end in order. A janitor watches over it, so a stop that hangs leaves nothing either.
return await root.Parse(args).InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = TimeSpan.FromMinutes(2) });
