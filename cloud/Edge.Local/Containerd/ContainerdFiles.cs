using System.Globalization;

namespace Edge.Local.Containerd;

/// <summary>The files of an instance. Source: containerd's config version 2, CNI specification 0.4.0.</summary>
internal static class ContainerdFiles
{
    /// <summary>Debian's place of the CNI plugins.</summary>
    private const string PluginDirectory = "/usr/lib/cni";

    public static string Socket(string directory) => Path.Combine(directory, "containerd.sock");

    public static string Config(string directory) => Path.Combine(directory, "config.toml");

    public static string Log(string directory) => Path.Combine(directory, "containerd.log");

    public static string Root(string directory) => Path.Combine(directory, "root");

    public static string State(string directory) => Path.Combine(directory, "state");

    public static string Cni(string directory) => Path.Combine(directory, "cni");

    /// <param name="handlers">Names under which runc serves, besides its own: for RuntimeClasses.</param>
    /// <param name="systemdCgroup">Whether cgroups are made by systemd, which must be this machine's init.</param>
    public static void Write(string directory, PodNetwork network, IReadOnlyList<string> handlers, bool systemdCgroup = false)
    {
        var further = string.Concat(handlers.Select(handler => $"    [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.\"{handler}\"]\n      runtime_type = \"io.containerd.runc.v2\"\n"));
        // hostPort needs iptables; without it the plugin would fail pods that ask for none.
        var portMap = File.Exists(Path.Combine(PluginDirectory, "portmap")) && ((string[])["/usr/sbin/iptables", "/sbin/iptables"]).Any(File.Exists)
            ? """, { "type": "portmap", "capabilities": { "portMappings": true } }"""
            : "";
        var conf = Directory.CreateDirectory(Cni(directory)).FullName;
        File.Delete(Socket(directory));
        File.WriteAllText(Config(directory), string.Create(CultureInfo.InvariantCulture, $"""
            version = 2
            root = "{Root(directory)}"
            state = "{State(directory)}"
            oom_score = 0
            disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp"]

            [grpc]
              address = "{Socket(directory)}"
            [ttrpc]
              address = "{Socket(directory)}.ttrpc"

            [plugins."io.containerd.internal.v1.opt"]
              path = "{Path.Combine(directory, "opt")}"

            [plugins."io.containerd.grpc.v1.cri"]
              sandbox_image = "{ContainerdInstance.SandboxImage}"
              restrict_oom_score_adj = true
              stream_server_address = "127.0.0.1"
              stream_server_port = "0"
              netns_mounts_under_state_dir = true
              [plugins."io.containerd.grpc.v1.cri".containerd]
                default_runtime_name = "runc"
                [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
                  runtime_type = "io.containerd.runc.v2"
                  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
                    SystemdCgroup = {(systemdCgroup ? "true" : "false")}
            {further}
              [plugins."io.containerd.grpc.v1.cri".cni]
                bin_dir = "{PluginDirectory}"
                conf_dir = "{conf}"

            """));
        File.WriteAllText(Path.Combine(conf, "10-edge.conflist"), $$"""
            {
              "cniVersion": "0.4.0",
              "name": "edge",
              "plugins": [
                {
                  "type": "bridge",
                  "bridge": "{{network.Bridge}}",
                  "isGateway": true,
                  "hairpinMode": true,
                  "ipam": {
                    "type": "host-local",
                    "dataDir": "{{Path.Combine(directory, "ipam")}}",
                    "ranges": [[{ "subnet": "{{network.Subnet}}" }]],
                    "routes": [{ "dst": "0.0.0.0/0" }]
                  }
                }{{portMap}}
              ]
            }

            """);
    }
}
