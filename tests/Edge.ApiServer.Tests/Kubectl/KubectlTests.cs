using System.Diagnostics;
using Edge.ApiServer.Tests.Rest;
using Edge.Testing;

namespace Edge.ApiServer.Tests.Kubectl;

/// <summary>The stock kubectl, unchanged. EDGE_KUBECTL may list further binaries, separated by colons; PATH's is always tried.</summary>
[Trait("Category", "Kubernetes")]
public sealed class KubectlTests(ApiFixture api) : IClassFixture<ApiFixture>
{
    private const string Pod = """
        apiVersion: v1
        kind: Pod
        metadata: {name: web, labels: {app: web}}
        spec:
          nodeName: n1
          containers:
          - {name: c, image: busybox, command: [sleep, "3600"]}
        """;

    public static TheoryData<string> Binaries
    {
        get
        {
            var found = (Environment.GetEnvironmentVariable("EDGE_KUBECTL") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries)
                .Concat((Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Select(d => Path.Combine(d, "kubectl")).Where(File.Exists).Take(1)).ToList();
            return [.. found.Count == 0 ? [""] : found];
        }
    }

    [SkippableTheory]
    [MemberData(nameof(Binaries))]
    [KubectlVerb("version", "client and server")]
    [KubectlVerb("cluster-info", "where the API is")]
    [KubectlVerb("api-versions", "all")]
    [KubectlVerb("api-resources", "all, custom resources too")]
    public async Task Discovery_and_version_commands_answer(string kubectl)
    {
        var run = await RunnerAsync(kubectl);
        Assert.Contains("v1.32.0+edge", await run.OkAsync("version"));
        Assert.Contains($"https://127.0.0.1:{api.Server.Port}", await run.OkAsync("cluster-info"));
        Assert.Contains("coordination.k8s.io/v1", await run.OkAsync("api-versions"));
        var resources = await run.OkAsync("api-resources");
        Assert.Matches(@"pods\s+po\s+v1\s+true\s+Pod", resources);
        Assert.Matches(@"customresourcedefinitions\s+crd,crds\s+apiextensions.k8s.io/v1\s+false\s+CustomResourceDefinition", resources);
        Assert.Contains("NAME", await run.OkAsync("get ns"));
    }

    [SkippableTheory]
    [MemberData(nameof(Binaries))]
    [KubectlVerb("apply", "-f, create, change, unchanged")]
    [KubectlVerb("create", "-f, and the error for what is there")]
    public async Task Apply_creates_changes_and_leaves_alone(string kubectl)
    {
        var run = await RunnerAsync(kubectl);
        var file = run.File("pod.yaml", Pod);
        Assert.Contains("pod/web created", await run.OkAsync($"apply -f {file}"));
        Assert.Contains("pod/web unchanged", await run.OkAsync($"apply -f {file}"));
        run.File("pod.yaml", Pod.Replace("busybox", "busybox:2", StringComparison.Ordinal));
        Assert.Contains("pod/web configured", await run.OkAsync($"apply -f {file}"));
        Assert.Equal("busybox:2", await run.OkAsync("get pod web -o jsonpath={.spec.containers[0].image}"));
        Assert.Contains("pods \"web\" already exists", await run.FailAsync($"create -f {file}"));
        Assert.Equal("Error from server (NotFound): pods \"nope\" not found", (await run.FailAsync("get pod nope")).Trim());
    }

    [SkippableTheory]
    [MemberData(nameof(Binaries))]
    [KubectlVerb("get", "tables, -o wide, yaml, json, name, jsonpath; -A, -l, --field-selector")]
    [KubectlVerb("describe", "pods, namespaces")]
    public async Task Get_prints_tables_and_every_output_form(string kubectl)
    {
        var run = await RunnerAsync(kubectl);
        await run.OkAsync($"apply -f {run.File("pod.yaml", Pod)}");
        Assert.Matches(@"NAME\s+READY\s+STATUS\s+RESTARTS\s+AGE\s+web\s+0/1", await run.OkAsync("get pods"));
        Assert.Matches(@"IP\s+NODE\s+NOMINATED NODE[\s\S]*n1", await run.OkAsync("get pods -o wide"));
        Assert.Matches($@"{run.Namespace}\s+web", await run.OkAsync("get pods -A"));
        Assert.Contains("kind: Pod", await run.OkAsync("get pod web -o yaml"));
        Assert.Contains("\"kind\": \"Pod\"", await run.OkAsync("get pod web -o json"));
        Assert.Equal("pod/web", (await run.OkAsync("get pods -o name")).Trim());
        Assert.Equal("pod/web", (await run.OkAsync("get pods -l app=web -o name")).Trim());
        Assert.Equal("", (await run.OkAsync("get pods -l app!=web -o name")).Trim());
        Assert.Equal("pod/web", (await run.OkAsync("get pods --field-selector spec.nodeName=n1 -o name")).Trim());
        Assert.Contains("No resources found", await run.OkAsync("get pods --field-selector spec.nodeName=n2", withErrors: true));
        Assert.Contains("busybox", await run.OkAsync("describe pod web"));
        Assert.Contains("Status:", await run.OkAsync($"describe ns {run.Namespace}"));
    }

    [SkippableTheory]
    [MemberData(nameof(Binaries))]
    [KubectlVerb("get", "-w")]
    [KubectlVerb("label", "set")]
    public async Task Get_watch_prints_changes_as_they_happen(string kubectl)
    {
        var run = await RunnerAsync(kubectl);
        await run.OkAsync($"apply -f {run.File("pod.yaml", Pod)}");
        using var watch = run.Start("get pods -w");
        Assert.Contains("NAME", await ReadLineAsync(watch), StringComparison.Ordinal);
        Assert.Contains("web", await ReadLineAsync(watch), StringComparison.Ordinal);
        await run.OkAsync("label pod web seen=yes");
        Assert.Contains("web", await ReadLineAsync(watch), StringComparison.Ordinal);
        watch.Kill();
        await watch.WaitForExitAsync();
    }

    [SkippableTheory]
    [MemberData(nameof(Binaries))]
    [KubectlVerb("edit", "with $EDITOR")]
    [KubectlVerb("patch", "strategic, --type=merge, --type=json")]
    [KubectlVerb("label", "set")]
    [KubectlVerb("annotate", "set")]
    public async Task Edit_patch_label_and_annotate_change_the_object(string kubectl)
    {
        var run = await RunnerAsync(kubectl);
        await run.OkAsync($"apply -f {run.File("pod.yaml", Pod)}");
        await run.OkAsync("label pod web color=red");
        await run.OkAsync("annotate pod web note=hello");
        await run.OkAsync("patch pod web -p {\"metadata\":{\"labels\":{\"strategic\":\"yes\"}}}");
        await run.OkAsync("patch pod web --type=merge -p {\"metadata\":{\"labels\":{\"merge\":\"yes\"}}}");
        await run.OkAsync("patch pod web --type=json -p [{\"op\":\"remove\",\"path\":\"/metadata/labels/color\"}]");
        var editor = run.File("editor.sh", "#!/bin/sh\nsed -i 's/note: hello/note: edited/' \"$1\"\n");
        File.SetUnixFileMode(editor, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        run.Editor = editor;
        Assert.Contains("pod/web edited", await run.OkAsync("edit pod web"));
        Assert.Equal("edited  yes yes", await run.OkAsync("get pod web -o jsonpath={.metadata.annotations.note}{\"\\u0020\"}{.metadata.labels.color}{\"\\u0020\"}{.metadata.labels.strategic}{\"\\u0020\"}{.metadata.labels.merge}"));
    }

    [SkippableTheory]
    [MemberData(nameof(Binaries))]
    [KubectlVerb("delete", "grace, --wait, --force")]
    [KubectlVerb("wait", "--for=delete")]
    [KubectlVerb("create", "configmap, secret, serviceaccount, service")]
    public async Task Delete_waits_for_grace_and_force_does_not(string kubectl)
    {
        var run = await RunnerAsync(kubectl);
        var file = run.File("pod.yaml", Pod);
        await run.OkAsync($"apply -f {file}");
        await run.OkAsync("delete pod web --wait=false");
        Assert.Equal("30", await run.OkAsync("get pod web -o jsonpath={.metadata.deletionGracePeriodSeconds}"));
        var waiting = run.Start("wait --for=delete pod/web --timeout=20s");
        await run.OkAsync("delete pod web --force --grace-period=0", withErrors: true);
        var waited = await waiting.StandardError.ReadToEndAsync();
        await waiting.WaitForExitAsync();
        Assert.True(waiting.ExitCode == 0 || waited.Contains("(NotFound)", StringComparison.Ordinal) || waited.Contains("no matching resources", StringComparison.Ordinal), waited); // old ones complain when it is gone before they look
        waiting.Dispose();
        await run.OkAsync("create configmap m --from-literal=a=b");
        Assert.Contains("deleted", await run.OkAsync("delete configmap m --wait=true"));
        await run.OkAsync("create secret generic s --from-literal=a=b");
        await run.OkAsync("create serviceaccount robot");
        await run.OkAsync("create service clusterip svc --tcp=80:8080");
        Assert.Equal("Yg==", await run.OkAsync("get secret s -o jsonpath={.data.a}"));
        Assert.Equal("8080", await run.OkAsync("get service svc -o jsonpath={.spec.ports[0].targetPort}"));
    }

    [SkippableTheory]
    [MemberData(nameof(Binaries))]
    [KubectlVerb("wait", "--for=condition")]
    public async Task Wait_sees_a_condition(string kubectl)
    {
        var run = await RunnerAsync(kubectl);
        await run.OkAsync($"apply -f {run.File("pod.yaml", Pod)}");
        using var waiting = run.Start("wait --for=condition=Ready pod/web --timeout=20s");
        await api.PatchAsync($"/api/v1/namespaces/{run.Namespace}/pods/web/status", "merge", """{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}""");
        Assert.Contains("condition met", await waiting.StandardOutput.ReadToEndAsync(), StringComparison.Ordinal);
    }

    [SkippableTheory]
    [MemberData(nameof(Binaries))]
    [KubectlVerb("scale", "custom resources")]
    [KubectlVerb("get", "custom resources with their columns")]
    public async Task A_definition_serves_its_objects_at_once_and_takes_them_along(string kubectl)
    {
        var run = await RunnerAsync(kubectl);
        var group = run.Namespace + ".example.com";
        await run.OkAsync($"apply -f {run.File("crd.yaml", Definition.Replace("GROUP", group, StringComparison.Ordinal))}");
        await run.OkAsync($"wait crd gadgets.{group} --for=condition=Established --timeout=10s");
        var gadget = $"apiVersion: {group}/v1\nkind: Gadget\nmetadata: {{name: g}}\nspec: {{color: red}}\n";
        var file = run.File("gadget.yaml", gadget);
        await run.OkAsync($"apply -f {file}");
        Assert.Matches(@"NAME\s+COLOR\s+g\s+red", await run.OkAsync($"get gadgets.{group}"));
        Assert.Equal("1", await run.OkAsync($"get gadgets.{group} g -o jsonpath={{.spec.replicas}}"));
        run.File("gadget.yaml", gadget.Replace("red", "blue", StringComparison.Ordinal));
        Assert.Contains("configured", await run.OkAsync($"apply -f {file}"));
        await run.OkAsync($"scale gadgets.{group} g --replicas=3");
        Assert.Equal("3 3", await run.OkAsync($"get gadgets.{group} g -o jsonpath={{.spec.replicas}}{{\"\\u0020\"}}{{.metadata.generation}}"));
        run.File("gadget.yaml", gadget.Replace("red", "green", StringComparison.Ordinal));
        Assert.Contains("Unsupported value", await run.FailAsync($"apply -f {file}"));
        await run.OkAsync($"delete crd gadgets.{group}");
        await run.FailAsync($"get gadgets.{group}");
    }

    [SkippableTheory]
    [MemberData(nameof(Binaries))]
    [KubectlVerb("run", "a pod")]
    [KubectlVerb("expose", "a pod")]
    [KubectlVerb("replace", "-f, --force")]
    [KubectlVerb("cordon", "nodes")]
    [KubectlVerb("uncordon", "nodes")]
    [KubectlVerb("taint", "set and removed")]
    [KubectlVerb("events", "of an object")]
    public async Task Pods_are_run_exposed_and_replaced_and_nodes_cordoned_and_tainted(string kubectl)
    {
        var run = await RunnerAsync(kubectl);
        Assert.Contains("pod/web created", await run.OkAsync("run web --image=busybox:1 --labels=app=web --port=8080"));
        await run.OkAsync("expose pod web --port=80 --target-port=8080");
        Assert.Equal("web", await run.OkAsync("get service web -o jsonpath={.spec.selector.app}"));
        await run.OkAsync($"create -f {run.File("map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: b}\n")}");
        var map = run.File("map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {c: d}\n");
        var before = await run.OkAsync("get configmap m -o jsonpath={.metadata.uid}");
        Assert.Contains("replaced", await run.OkAsync($"replace -f {map}"));
        Assert.Equal("{\"c\":\"d\"}", await run.OkAsync("get configmap m -o jsonpath={.data}"));
        Assert.Equal(before, await run.OkAsync("get configmap m -o jsonpath={.metadata.uid}"));
        await run.OkAsync($"replace --force -f {map}", withErrors: true);
        Assert.NotEqual(before, await run.OkAsync("get configmap m -o jsonpath={.metadata.uid}"));

        var node = run.Namespace + "-node";
        await run.OkAsync($"create -f {run.File("node.yaml", $"apiVersion: v1\nkind: Node\nmetadata: {{name: {node}}}\n")}");
        await run.OkAsync($"cordon {node}");
        Assert.Contains("SchedulingDisabled", await run.OkAsync($"get node {node}"));
        await run.OkAsync($"uncordon {node}");
        Assert.DoesNotContain("SchedulingDisabled", await run.OkAsync($"get node {node}"));
        await run.OkAsync($"taint nodes {node} k=v:NoSchedule");
        Assert.Equal("k=v:NoSchedule", await run.OkAsync($"get node {node} -o jsonpath={{.spec.taints[0].key}}={{.spec.taints[0].value}}:{{.spec.taints[0].effect}}"));
        await run.OkAsync($"taint nodes {node} k:NoSchedule-");
        Assert.Equal("", await run.OkAsync($"get node {node} -o jsonpath={{.spec.taints}}"));
        await run.OkAsync($"delete node {node}");

        var space = run.Namespace;
        await run.OkAsync($"create -f {run.File("event.yaml", $"apiVersion: v1\nkind: Event\nmetadata: {{name: e}}\ninvolvedObject: {{apiVersion: v1, kind: Pod, name: web, namespace: {space}}}\nreason: Told\nmessage: so it is\ntype: Normal\n")}");
        Assert.Matches(@"Told\s+Pod/web\s+so it is", await run.OkAsync("events --for=pod/web"));
    }

    [SkippableTheory]
    [MemberData(nameof(Binaries))]
    [KubectlVerb("proxy", "reads, watches and writes")]
    public async Task Proxy_lets_programs_without_credentials_ask(string kubectl)
    {
        var run = await RunnerAsync(kubectl);
        using var proxy = run.Start("proxy --port=0");
        try
        {
            var line = await ReadLineAsync(proxy);
            Assert.StartsWith("Starting to serve on 127.0.0.1:", line, StringComparison.Ordinal);
            using var http = new HttpClient { BaseAddress = new Uri($"http://{line["Starting to serve on ".Length..]}"), Timeout = TimeSpan.FromSeconds(20) };
            var path = $"/api/v1/namespaces/{run.Namespace}/configmaps";
            using var watch = await http.GetAsync(new Uri($"{path}?watch=true&fieldSelector=metadata.name%3Dm", UriKind.Relative), HttpCompletionOption.ResponseHeadersRead);
            using var events = new StreamReader(await watch.Content.ReadAsStreamAsync());
            using var body = new StringContent("""{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"},"data":{"a":"b"}}""", System.Text.Encoding.UTF8, "application/json");
            using var created = await http.PostAsync(new Uri(path, UriKind.Relative), body);
            Assert.Equal(System.Net.HttpStatusCode.Created, created.StatusCode);
            Assert.Matches("\"type\":\"ADDED\".*\"name\":\"m\"", await events.ReadLineAsync(new CancellationTokenSource(TimeSpan.FromSeconds(20)).Token));
            Assert.Contains("\"a\":\"b\"", await http.GetStringAsync(new Uri(path, UriKind.Relative)), StringComparison.Ordinal);
        }
        finally
        {
            proxy.Kill();
            await proxy.WaitForExitAsync();
        }
    }

    [SkippableTheory]
    [MemberData(nameof(Binaries))]
    [KubectlVerb("autoscale", "not served: it says so, and changes nothing")]
    public async Task Autoscale_says_that_it_is_not_served(string kubectl)
    {
        var run = await RunnerAsync(kubectl);
        await run.OkAsync("create deployment web --image=busybox --replicas=2");
        var refused = await run.FailAsync("autoscale deployment web --min=3 --max=5");
        Assert.Contains("could not find the requested resource", refused, StringComparison.Ordinal);
        Assert.Equal("2", await run.OkAsync("get deployment web -o jsonpath={.spec.replicas}"));
    }

    private const string Definition = """
        apiVersion: apiextensions.k8s.io/v1
        kind: CustomResourceDefinition
        metadata: {name: gadgets.GROUP}
        spec:
          group: GROUP
          scope: Namespaced
          names: {plural: gadgets, singular: gadget, kind: Gadget}
          versions:
          - name: v1
            served: true
            storage: true
            subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
            additionalPrinterColumns:
            - {name: Color, type: string, jsonPath: .spec.color}
            schema:
              openAPIV3Schema:
                type: object
                properties:
                  spec:
                    type: object
                    required: [color]
                    properties:
                      color: {type: string, enum: [red, blue]}
                      replicas: {type: integer, default: 1, minimum: 0}
                  status: {type: object, properties: {replicas: {type: integer}}}
        """;

    private static async Task<string> ReadLineAsync(Process process)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        return await process.StandardOutput.ReadLineAsync(deadline.Token) ?? "(kubectl ended)";
    }

    private async Task<KubectlRunner> RunnerAsync(string kubectl)
    {
        Skip.If(kubectl.Length == 0, "no kubectl on PATH or in EDGE_KUBECTL");
        return new KubectlRunner(kubectl, api.Server.KubeconfigPath, await api.NamespaceAsync(), Directory.CreateDirectory(Path.Combine(api.Directory, Guid.NewGuid().ToString("N"))).FullName);
    }
}
