using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Edge.Interop.Tests.Pods;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests;

/// <summary>kubectl and Debian's python3-kubernetes against MetaServer of a real edgecore, with cloudcore and without it.</summary>
[Trait("Category", "Kubernetes")]
[Collection(nameof(EdgeCollection))]
public sealed class MetaServerTests
{
    private static readonly TimeSpan s_long = TimeSpan.FromMinutes(2);

    private const string Manifests = """
        {"apiVersion":"v1","kind":"List","items":[
          {"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"reader","namespace":"default"}},
          {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings","namespace":"default"},"data":{"colour":"green"}},
          {"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"default","labels":{"app":"web"}},"spec":{"nodeName":"edge-1","tolerations":[{"operator":"Exists"}],
            "containers":[{"name":"main","image":"edge.local/busybox:1","envFrom":[{"configMapRef":{"name":"settings"}}]}]}}]}
        """;

    // Where the API has RBAC, what the ServiceAccount needs there.
    private const string Rights = """
        {"apiVersion":"v1","kind":"List","items":[
          {"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"metaserver-reader"},"rules":[
            {"apiGroups":["","apps","coordination.k8s.io"],"resources":["pods","configmaps","nodes","deployments","leases"],"verbs":["get","list","watch","create","update","patch","delete"]}]},
          {"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"metaserver-reader"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"metaserver-reader"},
            "subjects":[{"kind":"ServiceAccount","name":"reader","namespace":"default"}]}]}
        """;

    // As a pod has it: the files of its token volume, and KUBERNETES_SERVICE_HOST and _PORT.
    private const string Python = """
        import sys
        from kubernetes import client, config, watch
        from kubernetes.config.incluster_config import InClusterConfigLoader
        InClusterConfigLoader(token_filename=sys.argv[1], cert_filename=sys.argv[2]).load_and_set()
        v1 = client.CoreV1Api()
        pods = v1.list_namespaced_pod("default", label_selector="app=web")
        print("list", [pod.metadata.name for pod in pods.items])
        print("get", v1.read_namespaced_config_map("settings", "default").data["colour"])
        for event in watch.Watch().stream(v1.list_namespaced_pod, "default", resource_version="0", timeout_seconds=60):
            print("watch", event["type"], event["object"].metadata.name)
            break
        try:
            v1.patch_namespaced_config_map("settings", "default", {"data": {"colour": "red"}})
            print("patch done")
        except client.ApiException as e:
            print("patch", e.status)
        """;

    [SkippableFact]
    public async Task In_cluster_clients_get_list_and_watch_at_the_node_with_and_without_the_cloud()
    {
        Requires.Kubectl();
        await using var edge = await StartAsync("modules.metaManager.metaServer.authorization.mode=AlwaysAllow");
        await edge.KubectlAsync("apply -f -", Manifests);
        var (token, files) = await TokenAsync(edge);
        await edge.WaitForAsync("the node holds the pod and its ConfigMap", async () => (await MetaAsync(edge, token, "get", "pods", "-o", "name")).Output.Contains("pod/web", StringComparison.Ordinal)
            && (await MetaAsync(edge, token, "get", "configmap", "settings", "-o", "name")).ExitCode == 0, s_long);

        Assert.Equal("green", (await MetaAsync(edge, token, "get", "configmap", "settings", "-o", "jsonpath={.data.colour}")).Output);
        var table = (await MetaAsync(edge, token, "get", "pods", "-o", "wide")).Output;
        Assert.Matches(@"NAME +READY +STATUS +RESTARTS +AGE +IP +NODE\s+web +0/1 +Pending", table);
        Assert.Contains("Unauthorized", (await MetaAsync(edge, "nonsense", "get", "pods")).Error, StringComparison.Ordinal);

        // kubectl wait lists one object and watches it from there.
        var waiting = MetaAsync(edge, token, "wait", "pod/web", "--for=jsonpath={.metadata.labels.stage}=two", "--timeout=100s");
        await edge.KubectlAsync("label pod web stage=two");
        var waited = await waiting;
        Assert.True(waited.ExitCode == 0, waited.Error);
        Assert.Contains("condition met", waited.Output, StringComparison.Ordinal);
        var python = await PythonAsync(edge, files);
        Assert.Contains("list ['web']", python, StringComparison.Ordinal);
        Assert.Contains("get green", python, StringComparison.Ordinal);
        Assert.Contains("watch ADDED web", python, StringComparison.Ordinal);

        await edge.Local.KillCloudCoreAsync();
        await edge.WaitForAsync("the node knows that the cloud is away", async () => (await MetaAsync(edge, token, "get", "pods")).Error.Contains("the cloud is not connected", StringComparison.Ordinal), s_long);
        Assert.Contains("pod/web", (await MetaAsync(edge, token, "get", "pods", "-l", "stage=two", "-o", "name")).Output, StringComparison.Ordinal);
        Assert.Equal("green", (await MetaAsync(edge, token, "get", "configmap", "settings", "-o", "jsonpath={.data.colour}")).Output);
        Assert.Contains("writes take the cloud", (await MetaAsync(edge, token, "patch", "configmap", "settings", "-p", "{\"data\":{\"colour\":\"red\"}}")).Error, StringComparison.Ordinal);
        var away = await PythonAsync(edge, files);
        Assert.Contains("list ['web']", away, StringComparison.Ordinal);
        Assert.Contains("watch ADDED web", away, StringComparison.Ordinal);
        Assert.Contains("patch 503", away, StringComparison.Ordinal);

        // After a power cut at the node as well.
        await LocalEdge.KillEdgeCoreAsync(edge.Local.Nodes[0]);
        File.Delete(Path.Combine(edge.Local.Nodes[0].DataDirectory, "edgecore.ports.json"));
        edge.Local.RestartEdgeCore(edge.Local.Nodes[0]);
        await edge.WaitForAsync("MetaServer is back", async () => Port(edge) > 0 && (await MetaAsync(edge, token, "get", "pods", "-o", "name")).Output.Contains("pod/web", StringComparison.Ordinal), s_long);
    }

    [SkippableFact]
    public async Task Rights_are_those_of_the_cluster_and_are_remembered_without_the_cloud()
    {
        Requires.Kubectl();
        await using var edge = await StartAsync("modules.metaManager.metaServer.authorization.mode=Webhook");
        Skip.IfNot((await edge.KubectlAsync("api-versions")).Contains("authorization.k8s.io/v1", StringComparison.Ordinal), "RBAC and SubjectAccessReview in the API server");
        await edge.KubectlAsync("apply -f -", Manifests);
        await edge.KubectlAsync("apply -f -", Rights);
        await edge.KubectlAsync("create deployment shop --image=edge.local/busybox:1 --replicas=0");
        var (token, files) = await TokenAsync(edge);
        await edge.WaitForAsync("the node holds the pod", async () => (await MetaAsync(edge, token, "get", "pods", "-o", "name")).Output.Contains("pod/web", StringComparison.Ordinal), s_long);
        Assert.Contains("shop", (await MetaAsync(edge, token, "get", "deployments")).Output, StringComparison.Ordinal);
        Assert.Contains("cannot list resource \"secrets\"", (await MetaAsync(edge, token, "get", "secrets")).Error, StringComparison.Ordinal);
        Assert.Contains("patch done", await PythonAsync(edge, files), StringComparison.Ordinal);
        await edge.WaitForAsync("the write came back", async () => (await MetaAsync(edge, token, "get", "configmap", "settings", "-o", "jsonpath={.data.colour}")).Output == "red", s_long);

        await edge.Local.KillCloudCoreAsync();
        await edge.WaitForAsync("the deployments as they were read", async () => (await MetaAsync(edge, token, "get", "deployments")) is { ExitCode: 0 } read && read.Output.Contains("shop", StringComparison.Ordinal) && read.Error.Contains("Warning", StringComparison.Ordinal), s_long);
        Assert.Contains("pod/web", (await MetaAsync(edge, token, "get", "pods", "-o", "name")).Output, StringComparison.Ordinal);
        Assert.Contains("forbidden", (await MetaAsync(edge, token, "get", "secrets")).Error, StringComparison.Ordinal);
    }

    [SkippableFact]
    public async Task Programs_made_for_KubeEdges_plain_HTTP_ask_as_the_account_whose_pod_is_on_the_node()
    {
        Requires.Containerd();
        Requires.Kubectl();
        await using var edge = await StartAsync("modules.metaManager.metaServer.httpServiceAccount=default/reader", pods: true);
        await edge.KubectlAsync("create serviceaccount reader");
        await edge.KubectlAsync("apply -f -", Rights);
        await edge.KubectlAsync("create deployment shop --image=edge.local/busybox:1 --replicas=0");
        Assert.Contains("no pod of it", (await PlainAsync(edge, "get", "--raw", "/api/v1/pods")).Error, StringComparison.Ordinal);
        await edge.KubectlAsync("apply -f -", $$$"""
            {"apiVersion":"v1","kind":"Pod","metadata":{"name":"mesh"},"spec":{"nodeName":"edge-1","hostNetwork":true,"serviceAccountName":"reader","terminationGracePeriodSeconds":1,"tolerations":[{"operator":"Exists"}],
              "containers":[{"name":"main","image":"{{{LocalEdge.BusyboxImage}}}","command":["sleep","3600"]}]}}
            """);
        await edge.ReadyAsync("mesh");
        // What in-cluster clients look for is there without a word in the manifest.
        Assert.Equal("ca.crt namespace token default 2", string.Join(' ', (await edge.KubectlAsync(
            ["exec", "mesh", "--", "sh", "-c", "cd /var/run/secrets/kubernetes.io/serviceaccount; ls; cat namespace; echo; grep -c BEGIN ca.crt"])).Split('\n', StringSplitOptions.RemoveEmptyEntries)));
        await edge.WaitForAsync("the pod as its own program sees it", async () => (await PlainAsync(edge, "get", "pods", "-o", "name")).Output == "pod/mesh\n", s_long);
        Assert.Contains("shop", (await PlainAsync(edge, "get", "deployments")).Output, StringComparison.Ordinal);
        Assert.Contains("User \"system:serviceaccount:default:reader\" cannot list resource \"secrets\"", (await PlainAsync(edge, "get", "secrets")).Error, StringComparison.Ordinal);

        await edge.Local.KillCloudCoreAsync();
        await edge.WaitForAsync("the node knows that the cloud is away", async () => (await PlainAsync(edge, "get", "pods")).Error.Contains("the cloud is not connected", StringComparison.Ordinal), s_long);
        Assert.Contains("shop", (await PlainAsync(edge, "get", "deployments")).Output, StringComparison.Ordinal);
        Assert.Equal("pod/mesh\n", (await PlainAsync(edge, "get", "pods", "-o", "name")).Output);
    }

    [SkippableFact]
    public async Task Logs_exec_and_port_forward_reach_a_pod_of_the_node_with_and_without_the_cloud()
    {
        Requires.Containerd();
        Requires.Kubectl();
        await using var edge = await StartAsync("modules.metaManager.metaServer.authorization.mode=AlwaysAllow", pods: true);
        foreach (var account in (string[])["reader", "stranger"])
            await edge.KubectlAsync($"create serviceaccount {account}");
        // To run something in a container takes the right to, whatever else the node asks for.
        await edge.KubectlAsync("create role runner --verb=create --resource=pods/exec,pods/portforward");
        await edge.KubectlAsync("create rolebinding runner --role=runner --serviceaccount=default:reader");
        var stranger = (await edge.KubectlAsync("create token stranger --duration=1h")).Trim();
        await edge.ApplyAsync(PodSteps.Manifest("serve", $$"""
            {"name":"c","image":"{{LocalEdge.BusyboxImage}}","command":["sh","-c","echo begun; trap 'exit 0' TERM; while true; do echo answer | nc -l -p 8080; done"]}
            """));
        await edge.ReadyAsync("serve");
        var (token, _) = await TokenAsync(edge);
        await edge.WaitForAsync("the node tells that its pod runs", async () => (await MetaAsync(edge, token, "get", "pod", "serve", "-o", "jsonpath={.status.phase}")).Output == "Running", s_long);
        await StreamsAsync();
        await edge.Local.KillCloudCoreAsync();
        await edge.WaitForAsync("the node knows that the cloud is away", async () => (await MetaAsync(edge, token, "get", "pods")).Error.Contains("the cloud is not connected", StringComparison.Ordinal), s_long);
        await StreamsAsync();

        async Task StreamsAsync()
        {
            Assert.Equal("begun\n", (await MetaAsync(edge, token, "logs", "serve")).Output);
            var ran = await MetaAsync(edge, token, "exec", "serve", "--", "sh", "-c", "echo out; echo wrong >&2; exit 7");
            Assert.True(ran is { ExitCode: 7, Output: "out\n" }, ran.Error);
            Assert.Contains("wrong", ran.Error, StringComparison.Ordinal);
            foreach (var (credential, reason) in ((string, string)[])[("nonsense", "Unauthorized"), (stranger, "forbidden")])
            {
                var refused = await MetaAsync(edge, credential, "exec", "serve", "--", "true");
                Assert.NotEqual(0, refused.ExitCode);
                Assert.Contains(reason, refused.Error, StringComparison.OrdinalIgnoreCase);
            }


            using var directory = new TempDirectory();
            using var forward = ChildProcess.Start("kubectl-port", directory.Path, Kubectl.Executable!, [.. MetaArguments(edge, token), "port-forward", "pod/serve", ":8080"], TimeProvider.System);
            try
            {
                var port = 0;
                await edge.WaitForAsync("kubectl listens", async () =>
                {
                    const string begin = "Forwarding from 127.0.0.1:";
                    var line = File.Exists(forward.LogPath) ? (await File.ReadAllLinesAsync(forward.LogPath)).FirstOrDefault(one => one.StartsWith(begin, StringComparison.Ordinal)) : null;
                    return line is not null && int.TryParse(line[begin.Length..].Split(' ')[0], out port);
                });
                await edge.WaitForAsync("the pod answers through the forwarded port", async () =>
                {
                    using var client = new TcpClient();
                    await client.ConnectAsync(IPAddress.Loopback, port);
                    using var reader = new StreamReader(client.GetStream());
                    return await reader.ReadLineAsync() == "answer";
                });
            }
            finally
            {
                await forward.KillAsync();
            }
        }
    }

    private static Task<TestEdge> StartAsync(string setting, bool pods = false) => TestEdge.StartAsync(new TestEdgeOptions
    {
        Pods = pods,
        CloudCoreSettings = ["modules.dynamicController.enable=true"],
        EdgeCoreSettings = ["modules.metaManager.metaServer.enable=true", "modules.metaManager.metaServer.server=127.0.0.1:0", setting],
    });

    private static async Task<(string Token, string Files)> TokenAsync(TestEdge edge)
    {
        var token = (await edge.KubectlAsync("create token reader --duration=1h")).Trim();
        var file = Path.Combine(edge.Local.Directory, "reader.token");
        await File.WriteAllTextAsync(file, token);
        return (token, file);
    }

    private static int Port(TestEdge edge)
    {
        var file = Path.Combine(edge.Local.Nodes[0].DataDirectory, "edgecore.ports.json");
        return File.Exists(file) ? (int)JsonNode.Parse(File.ReadAllText(file)).Number(0, "metaServer") : 0;
    }

    private static string Authority(TestEdge edge) => Directory.GetFiles(edge.Local.Nodes[0].DataDirectory, "ca.crt", SearchOption.AllDirectories).Single(path => path.Contains("metaserver", StringComparison.Ordinal));

    private static string[] MetaArguments(TestEdge edge, string token)
        => ["--kubeconfig=/dev/null", $"--server=https://127.0.0.1:{Port(edge)}", $"--certificate-authority={Authority(edge)}", $"--token={token}", $"--cache-dir={Path.Combine(edge.Local.Directory, "kubectl-cache")}"];

    private static Task<ToolResult> MetaAsync(TestEdge edge, string token, params string[] arguments)
        => Tool.TryRunAsync(
            "kubectl",
            [.. MetaArguments(edge, token), .. arguments],
            new ToolOptions(TimeProvider.System) { Deadline = s_long, Environment = new Dictionary<string, string> { ["KUBECONFIG"] = "/dev/null" } }, CancellationToken.None);

    private static Task<ToolResult> PlainAsync(TestEdge edge, params string[] arguments)
        => Tool.TryRunAsync(
            "kubectl",
            ["--kubeconfig=/dev/null", $"--server=http://127.0.0.1:{Port(edge)}", $"--cache-dir={Path.Combine(edge.Local.Directory, "kubectl-plain")}", .. arguments],
            new ToolOptions(TimeProvider.System) { Deadline = s_long }, CancellationToken.None);

    private static async Task<string> PythonAsync(TestEdge edge, string tokenFile)
    {
        var python = await Tool.TryRunAsync(
            "/usr/bin/python3", ["-c", Python, tokenFile, Authority(edge)],
            new ToolOptions(TimeProvider.System)
            {
                Deadline = s_long, Environment = new Dictionary<string, string> { ["KUBERNETES_SERVICE_HOST"] = "127.0.0.1", ["KUBERNETES_SERVICE_PORT"] = $"{Port(edge)}" },
            },
            CancellationToken.None);
        Skip.If(python.Error.Contains("No module named 'kubernetes'", StringComparison.Ordinal), "python3-kubernetes (Debian)");
        Assert.True(python.ExitCode == 0, python.Error);
        return python.Output;
    }
}
