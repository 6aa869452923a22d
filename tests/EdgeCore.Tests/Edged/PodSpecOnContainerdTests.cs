using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local.Processes;
using Edge.Protocol.Cri;
using Xunit;
using static Edge.Core.Tests.PodsOnContainerdTests;

namespace Edge.Core.Tests;

/// <summary>What a pod's spec asks of its containers, seen from inside them.</summary>
[Collection("containerd-2")]
[Trait("Category", "Pods")]
public sealed class PodSpecOnContainerdTests(ContainerdFixture containerd)
{
    [SkippableFact]
    public async Task Users_groups_capabilities_and_confinement_are_as_the_security_contexts_say()
    {
        await using var edged = containerd.Run("spec-a");
        Directory.CreateDirectory(Path.Combine(edged.Root, "seccomp"));
        await File.WriteAllTextAsync(Path.Combine(edged.Root, "seccomp", "no-mkdir.json"),
            """{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}""");
        var pod = Spec("secure", """
            {"terminationGracePeriodSeconds":1,
             "securityContext":{"runAsUser":1000,"runAsGroup":2000,"fsGroup":3000,"supplementalGroups":[4000],"sysctls":[{"name":"net.ipv4.ip_unprivileged_port_start","value":"99"}]},
             "volumes":[{"name":"tmp","emptyDir":{}}],
             "containers":[
              {"name":"user",SLEEP,"securityContext":{"runAsNonRoot":true,"readOnlyRootFilesystem":true,"allowPrivilegeEscalation":false,"seccompProfile":{"type":"RuntimeDefault"},"capabilities":{"drop":["ALL"]}},"volumeMounts":[{"name":"tmp","mountPath":"/data"}]},
              {"name":"root",SLEEP,"securityContext":{"runAsUser":0,"runAsGroup":0,"capabilities":{"add":["NET_ADMIN"],"drop":["CHOWN"]},"seccompProfile":{"type":"Localhost","localhostProfile":"no-mkdir.json"}}},
              {"name":"open",SLEEP,"securityContext":{"runAsUser":0,"procMount":"Unmasked","seccompProfile":{"type":"Unconfined"}}},
              {"name":"all",SLEEP,"securityContext":{"runAsUser":0,"privileged":true}}]}
            """);
        edged.Meta.Put("pod", pod);
        var status = await edged.StatusAsync(pod, "running", IsReady);
        using var client = containerd.Client();

        var user = await ShAsync(client, status, "user", "id -u; id -g; id -G; cat /proc/1/status; touch /x; touch /data/y; stat -c %g /data/y; cat /proc/sys/net/ipv4/ip_unprivileged_port_start");
        Assert.StartsWith("1000\n2000\n2000 3000 4000\n", user, StringComparison.Ordinal);
        Assert.Equal("1", Field(user, "NoNewPrivs"));
        Assert.Equal("2", Field(user, "Seccomp"));
        Assert.Equal(0UL, ulong.Parse(Field(user, "CapBnd"), NumberStyles.HexNumber, CultureInfo.InvariantCulture));
        Assert.Contains("touch: /x: Read-only file system", user, StringComparison.Ordinal);
        Assert.EndsWith("3000\n99\n", user, StringComparison.Ordinal);

        var root = await ShAsync(client, status, "root", "id -u; cat /proc/1/status; mkdir /new");
        var caps = ulong.Parse(Field(root, "CapEff"), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        Assert.StartsWith("0\n", root, StringComparison.Ordinal);
        Assert.True((caps & 1UL << 12) != 0, "NET_ADMIN was added");
        Assert.True((caps & 1UL) == 0, "CHOWN was dropped");
        Assert.Equal("0", Field(root, "NoNewPrivs"));
        Assert.Equal("2", Field(root, "Seccomp"));
        Assert.Contains("mkdir: can't create directory '/new'", root, StringComparison.Ordinal);

        var masked = await ShAsync(client, status, "root", "cat /proc/self/mountinfo");
        var open = await ShAsync(client, status, "open", "cat /proc/self/mountinfo; grep Seccomp: /proc/1/status");
        Assert.Contains(" /proc/sys ", masked, StringComparison.Ordinal);
        Assert.DoesNotContain(" /proc/sys ", open, StringComparison.Ordinal);
        Assert.Equal("0", Field(open, "Seccomp"));

        // As many capabilities as this machine lets anybody have.
        var all = await ShAsync(client, status, "all", "cat /proc/1/status; cat /proc/self/mountinfo");
        Assert.Equal(Field(await File.ReadAllTextAsync("/proc/self/status"), "CapBnd"), Field(all, "CapEff"));
        Assert.DoesNotContain(" /proc/sys ", all, StringComparison.Ordinal);
        await GoneAsync(edged, client, pod);
    }

    [SkippableFact]
    public async Task What_may_not_run_says_why()
    {
        await using var edged = containerd.Run("spec-b");
        var root = Spec("root", """{"securityContext":{"runAsNonRoot":true},"containers":[{"name":"main",SLEEP}]}""");
        var zero = Spec("zero", """{"containers":[{"name":"main",SLEEP,"securityContext":{"runAsNonRoot":true,"runAsUser":0}}]}""");
        var profile = Spec("profile", """{"containers":[{"name":"main",SLEEP,"securityContext":{"seccompProfile":{"type":"Localhost","localhostProfile":"../x"}}}]}""");
        var sysctl = Spec("sysctl", """{"securityContext":{"sysctls":[{"name":"kernel.msgmax","value":"65536"}]},"containers":[{"name":"main",SLEEP}]}""");
        var handler = Spec("handler", """{"runtimeClassName":"gvisor","containers":[{"name":"main",SLEEP}]}""");
        JsonObject[] pods = [root, zero, profile, sysctl, handler];
        foreach (var pod in pods)
            edged.Meta.Put("pod", pod);

        foreach (var (pod, message) in ((JsonObject, string)[])[(root, "container has runAsNonRoot and image will run as root"), (zero, "container's runAsUser breaks non-root policy"), (profile, "must be relative")])
        {
            var status = await edged.StatusAsync(pod, "CreateContainerConfigError", status => Reason(status) == "CreateContainerConfigError");
            Assert.Contains(message, status.Items("containerStatuses").Single().Text("state", "waiting", "message"), StringComparison.Ordinal);
        }

        var refused = await edged.StatusAsync(sysctl, "refused", status => status.Text("phase") == "Failed");
        Assert.Equal("SysctlForbidden", refused.Text("reason"));
        Assert.Contains("forbidden sysctl: \"kernel.msgmax\" not allowlisted", refused.Text("message"), StringComparison.Ordinal);
        await edged.EventAsync("FailedCreatePodSandBox", "Failed to create pod sandbox: runtimeclass.node.k8s.io \"gvisor\" not found");
        using var client = containerd.Client();
        await GoneAsync(edged, client, pods);
    }

    [SkippableFact]
    public async Task A_runtime_class_names_the_handler_also_when_it_comes_after_the_pod()
    {
        await using var edged = containerd.Run("spec-class");
        using var client = containerd.Client();
        var early = Spec("early", """{"runtimeClassName":"again","terminationGracePeriodSeconds":1,"containers":[{"name":"main",SLEEP}]}""");
        var plain = Spec("plain", """{"terminationGracePeriodSeconds":1,"containers":[{"name":"main",SLEEP}]}""");
        var unknown = Spec("unknown", """{"runtimeClassName":"kata","terminationGracePeriodSeconds":1,"containers":[{"name":"main",SLEEP}]}""");
        foreach (var pod in (JsonObject[])[early, plain, unknown])
            edged.Meta.Put("pod", pod);
        await edged.EventAsync("FailedCreatePodSandBox", "runtimeclass.node.k8s.io \"again\" not found");
        edged.Meta.Put("runtimeclass", Class("again", ContainerdFixture.OtherHandler));
        // One that the runtime has not got fails in its words.
        edged.Meta.Put("runtimeclass", Class("kata", "kata-qemu"));
        await edged.StatusAsync(early, "running", IsReady);
        await edged.StatusAsync(plain, "running", IsReady);
        await edged.EventAsync("FailedCreatePodSandBox", "no runtime for \"kata-qemu\" is configured");

        var sandboxes = await client.ListPodSandboxAsync(null, default);
        Assert.Equal(ContainerdFixture.OtherHandler, sandboxes.Single(one => one.Metadata.Uid == early.Uid()).RuntimeHandler);
        Assert.Equal("", sandboxes.Single(one => one.Metadata.Uid == plain.Uid()).RuntimeHandler);
        await GoneAsync(edged, client, early, plain, unknown);
    }

    private static JsonObject Class(string name, string handler)
        => new() { ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = "null", ["uid"] = "uid-" + name, ["resourceVersion"] = "1" }, ["handler"] = handler };

    [SkippableFact]
    public async Task A_pod_is_called_as_it_asks_and_resolves_as_it_asks()
    {
        await using var edged = containerd.Run("spec-c");
        var named = Spec("named", """
            {"terminationGracePeriodSeconds":1,"hostname":"db-0","subdomain":"db","setHostnameAsFQDN":true,"hostAliases":[{"ip":"192.0.2.9","hostnames":["plc","plc.factory"]}],
             "dnsPolicy":"None","dnsConfig":{"nameservers":["192.0.2.53"],"searches":["factory.example"],"options":[{"name":"ndots","value":"2"},{"name":"rotate"}]},
             "containers":[{"name":"main",SLEEP}]}
            """);
        var host = Spec("host", """
            {"terminationGracePeriodSeconds":1,"hostNetwork":true,"hostPID":true,"hostIPC":true,"hostAliases":[{"ip":"192.0.2.9","hostnames":["plc"]}],"dnsPolicy":"ClusterFirst",
             "containers":[{"name":"main",SLEEP}]}
            """);
        var shared = Spec("shared", """
            {"terminationGracePeriodSeconds":1,"shareProcessNamespace":true,"containers":[{"name":"main",SLEEP},{"name":"other",SLEEP2}]}
            """);
        foreach (var pod in (JsonObject[])[named, host, shared])
            edged.Meta.Put("pod", pod);
        using var client = containerd.Client();

        var status = await edged.StatusAsync(named, "running", IsReady);
        var text = await ShAsync(client, status, "main", "hostname; cat /etc/hosts /etc/resolv.conf; ps");
        Assert.StartsWith("db-0.db.default.svc\n# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n", text, StringComparison.Ordinal);
        Assert.Contains($"\n{status.Text("podIP")}\tdb-0.db.default.svc\tdb-0\n\n# Entries added by HostAliases.\n192.0.2.9\tplc\tplc.factory\n", text, StringComparison.Ordinal);
        Assert.Contains("search factory.example\nnameserver 192.0.2.53\noptions ndots:2 rotate\n", text, StringComparison.Ordinal);
        Assert.DoesNotContain("pause", text, StringComparison.Ordinal);

        status = await edged.StatusAsync(host, "running", IsReady);
        text = await ShAsync(client, status, "main", "for ns in net pid ipc; do readlink /proc/self/ns/$ns; done; cat /etc/hosts");
        foreach (var space in (string[])["net", "pid", "ipc"])
            Assert.Contains(new FileInfo("/proc/self/ns/" + space).LinkTarget!, text, StringComparison.Ordinal);
        Assert.Contains("# Kubernetes-managed hosts file (host network).\n" + await File.ReadAllTextAsync("/etc/hosts"), text, StringComparison.Ordinal);
        Assert.EndsWith("192.0.2.9\tplc\n", text, StringComparison.Ordinal);
        Assert.Equal("192.0.2.7", status.Text("podIP"));

        status = await edged.StatusAsync(shared, "running", IsReady);
        Assert.Contains("sleep 2000", await ShAsync(client, status, "main", "ps"), StringComparison.Ordinal);
        await GoneAsync(edged, client, named, host, shared);
    }

    [SkippableFact]
    public async Task Commands_variables_terminals_and_working_directories_are_as_asked()
    {
        await using var edged = containerd.Run("spec-d");
        edged.Meta.Put("configmap", Object("app", """{"data":{"mode":"eco"}}"""));
        var pod = Spec("words", """
            {"restartPolicy":"Never","containers":[
              {"name":"env","image":"docker.io/edge/busybox:1.0","workingDir":"/tmp/work","command":["sh","-c"],"args":["echo '$(APP_mode) $$(APP_mode) $(NONE)' $NAME $LABEL $CPU $MEM $ALL $WHERE; pwd; test -t 0 || echo no terminal"],
               "envFrom":[{"prefix":"APP_","configMapRef":{"name":"app"}}],
               "env":[{"name":"NAME","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}},{"name":"LABEL","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['site']"}}},
                {"name":"CPU","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu","divisor":"1m"}}},{"name":"MEM","valueFrom":{"resourceFieldRef":{"resource":"requests.memory","divisor":"1Mi"}}},
                {"name":"ALL","valueFrom":{"resourceFieldRef":{"containerName":"tty","resource":"limits.cpu"}}},{"name":"WHERE","value":"in-$(NAME)"}],
               "resources":{"limits":{"cpu":"250m"},"requests":{"memory":"8Mi"}}},
              {"name":"tty","image":"docker.io/edge/busybox:1.0","tty":true,"stdin":true,"command":["sh","-c","test -t 0 && test -t 1 && echo a terminal"]},
              {"name":"stdin","image":"docker.io/edge/busybox:1.0","stdin":true,"command":["sh","-c","timeout 1 cat; echo it ended with $?"]},
              {"name":"none","image":"docker.io/edge/busybox:1.0","command":["sh","-c","timeout 1 cat; echo it ended with $?"]}]}
            """);
        pod["metadata"]!["labels"] = new JsonObject { ["site"] = "hall-3" };
        edged.Meta.Put("pod", pod);
        await edged.StatusAsync(pod, "done", status => status.Text("phase") is "Succeeded");
        Assert.Contains($" F eco $(APP_mode) $(NONE) words hall-3 250 8 {Environment.ProcessorCount} in-words\n", edged.Log(pod, "env", 0), StringComparison.Ordinal);
        Assert.Contains(" F /tmp/work\n", edged.Log(pod, "env", 0), StringComparison.Ordinal);
        Assert.Contains(" F no terminal\n", edged.Log(pod, "env", 0), StringComparison.Ordinal);
        Assert.Contains(" F a terminal", edged.Log(pod, "tty", 0), StringComparison.Ordinal);
        Assert.Contains(" F it ended with 143\n", edged.Log(pod, "stdin", 0), StringComparison.Ordinal); // it waited for input
        Assert.Contains(" F it ended with 0\n", edged.Log(pod, "none", 0), StringComparison.Ordinal); // it had none
        using var client = containerd.Client();
        await GoneAsync(edged, client, pod);
    }

    [SkippableFact]
    public async Task A_host_port_reaches_the_container()
    {
        Skip.IfNot(File.Exists("/usr/sbin/iptables"), "iptables is not installed");
        await using var edged = containerd.Run("spec-e");
        using var lease = PortLease.Take();
        var port = lease.Port;
        var pod = Spec("port", """
            {"terminationGracePeriodSeconds":1,"containers":[{"name":"main","image":"docker.io/edge/busybox:1.0","command":["sh","-c","while true; do echo through | nc -l -p 80; done"],
              "ports":[{"containerPort":80,"hostPort":PORT,"hostIP":"127.0.0.1"}]}]}
            """.Replace("PORT", port.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal));
        edged.Meta.Put("pod", pod);
        await edged.StatusAsync(pod, "running", IsReady);
        await UntilAsync("the host's port answers", async () =>
        {
            try
            {
                using var socket = new TcpClient();
                await socket.ConnectAsync(IPAddress.Loopback, port);
                using var reader = new StreamReader(socket.GetStream(), Encoding.UTF8);
                return await reader.ReadLineAsync() == "through";
            }
            catch (Exception e) when (e is SocketException or IOException)
            {
                return false;
            }
        });
        using var client = containerd.Client();
        await GoneAsync(edged, client, pod);
    }

    private static JsonObject Spec(string name, string spec)
        => Pod(name, spec.Replace("SLEEP2", Sleep.Replace("1000", "2000", StringComparison.Ordinal), StringComparison.Ordinal).Replace("SLEEP", Sleep, StringComparison.Ordinal));

    private const string Sleep = "\"image\":\"docker.io/edge/busybox:1.0\",\"command\":[\"sleep\",\"1000\"]";

    private static string Field(string text, string name)
        => text.Split('\n').First(line => line.StartsWith(name + ":", StringComparison.Ordinal))[(name.Length + 1)..].Trim();

    internal static async Task<string> ShAsync(CriClient client, JsonObject status, string container, string script)
    {
        var id = status.Items("containerStatuses").Single(item => item.Text("name") == container).Text("containerID")["containerd://".Length..];
        return (await client.ExecSyncAsync(id, ["sh", "-c", $"( {script} ) 2>&1"], TimeSpan.FromSeconds(30), default)).Stdout.ToStringUtf8();
    }

    internal static async Task GoneAsync(RunningEdged edged, CriClient client, params JsonObject[] pods)
    {
        foreach (var pod in pods)
            edged.Meta.Delete("pod", pod);
        foreach (var pod in pods)
            await UntilAsync($"{pod.Name()} is gone", async () => (await SandboxesAsync(client, pod.Uid())).Count == 0);
    }
}
