using System.Globalization;
using System.Text;
using Edge.ApiServer.Controllers;
using Edge.ApiServer.Tests.Rest;
using Edge.Kubernetes;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.ApiServer.Tests.Kubectl;

/// <summary>Volumes and claims as kubectl shows them: the real API and controllers.</summary>
[Trait("Category", "Kubernetes")]
public sealed class VolumesTests(ApiFixture api) : IClassFixture<ApiFixture>, IAsyncLifetime
{
    private const string Disk = """
        apiVersion: v1
        kind: PersistentVolume
        metadata: {name: disk-@@}
        spec: {storageClassName: manual-@@, capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /mnt/data}}
        ---
        apiVersion: v1
        kind: PersistentVolumeClaim
        metadata: {name: data}
        spec: {storageClassName: manual-@@, accessModes: [ReadWriteOnce], resources: {requests: {storage: 500Mi}}}
        """;

    private const string Pod = """
        apiVersion: v1
        kind: Pod
        metadata: {name: user}
        spec:
          NODE
          containers: [{name: c, image: busybox}]
          volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]
        """;

    private KubeClient? _client;
    private EmbeddedControllers? _controllers;
    private KubectlRunner _run = null!;

    public async Task InitializeAsync()
    {
        _client = KubeClient.FromKubeconfig(api.Server.KubeconfigPath, TimeProvider.System);
        _controllers = EmbeddedControllers.Start(_client, TimeProvider.System, new Random(5), NullLoggerFactory.Instance);
        _run = new KubectlRunner("kubectl", api.Server.KubeconfigPath, await api.NamespaceAsync(), Directory.CreateDirectory(Path.Combine(api.Directory, Guid.NewGuid().ToString("N"))).FullName);
    }

    public async Task DisposeAsync()
    {
        if (_controllers is not null)
            await _controllers.DisposeAsync();
        _client?.Dispose();
    }

    [SkippableFact]
    [KubectlVerb("describe", "volumes, claims")]
    [KubectlVerb("explain", "storage classes")]
    public async Task A_claim_is_bound_printed_held_by_its_pod_and_leaves_a_released_volume()
    {
        Requires.Kubectl();
        var resources = await _run.OkAsync("api-resources");
        Assert.Matches(@"persistentvolumes\s+pv\s+v1\s+false\s+PersistentVolume\s", resources);
        Assert.Matches(@"persistentvolumeclaims\s+pvc\s+v1\s+true\s+PersistentVolumeClaim", resources);
        Assert.Matches(@"storageclasses\s+sc\s+storage.k8s.io/v1\s+false\s+StorageClass", resources);
        Assert.Contains("volumeBindingMode", await _run.OkAsync("explain storageclass"), StringComparison.Ordinal);
        await ApplyAsync(Disk);
        await UntilAsync("get pvc data -o jsonpath={.status.phase}", "Bound");
        await UntilAsync(Of("get pv disk-@@ -o jsonpath={.status.phase}"), "Bound");
        Assert.Matches(
            Of(@"^NAME\s+CAPACITY\s+ACCESS MODES\s+RECLAIM POLICY\s+STATUS\s+CLAIM\s+STORAGECLASS\s+VOLUMEATTRIBUTESCLASS\s+REASON\s+AGE\s+disk-@@\s+1Gi\s+RWO\s+Retain\s+Bound\s+@@/data\s+manual-@@\s+<unset>\s+\d+s\s*$"),
            await _run.OkAsync(Of("get pv disk-@@")));
        Assert.Matches(
            Of(@"^NAME\s+STATUS\s+VOLUME\s+CAPACITY\s+ACCESS MODES\s+STORAGECLASS\s+VOLUMEATTRIBUTESCLASS\s+AGE\s+VOLUMEMODE\s+data\s+Bound\s+disk-@@\s+1Gi\s+RWO\s+manual-@@\s+<unset>\s+\d+s\s+Filesystem\s*$"),
            await _run.OkAsync("get pvc -o wide"));
        Assert.Matches(@"Finalizers:\s+\[kubernetes.io/pvc-protection\]", await _run.OkAsync("describe pvc data"));
        Assert.Matches(Of(@"Claim:\s+@@/data"), await _run.OkAsync(Of("describe pv disk-@@")));

        Assert.Contains("spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims", await _run.FailAsync("""patch pvc data -p {"spec":{"accessModes":["ReadWriteMany"]}}"""), StringComparison.Ordinal);
        Assert.Contains(
            "persistentvolumeclaims \"data\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
            await _run.FailAsync("""patch pvc data -p {"spec":{"resources":{"requests":{"storage":"2Gi"}}}}"""), StringComparison.Ordinal);

        await ApplyAsync(Pod.Replace("NODE", "nodeName: nowhere", StringComparison.Ordinal));
        await _run.OkAsync("delete pvc data --wait=false");
        await UntilAsync("get pvc data --no-headers", "Terminating", isWhole: false);
        // It would have gone by now: the binder has looked at it since, which the volume's deletion shows.
        await _run.OkAsync(Of("delete pv disk-@@ --wait=false"));
        await UntilAsync(Of("get pv disk-@@ --no-headers"), "Terminating", isWhole: false);
        Assert.Contains("data", await _run.OkAsync("get pvc -o name"), StringComparison.Ordinal);
        await _run.OkAsync("delete pod user --force --grace-period=0", withErrors: true);
        await UntilAsync("get pvc -o name", "");
        await UntilAsync(Of("get pv disk-@@ --ignore-not-found -o name"), "");
    }

    [SkippableFact]
    public async Task A_released_volume_stays_and_a_claim_that_nothing_fits_says_why()
    {
        Requires.Kubectl();
        await ApplyAsync(Disk);
        await UntilAsync("get pvc data -o jsonpath={.status.phase}", "Bound");
        await _run.OkAsync("delete pvc data");
        await UntilAsync(Of("get pv disk-@@ -o jsonpath={.status.phase}/{.spec.claimRef.name}"), "Released/data");
        await ApplyAsync(Disk);
        await UntilAsync("get events -o jsonpath={.items[*].message}", Of("storageclass.storage.k8s.io \"manual-@@\" not found"), isWhole: false);
        Assert.Equal("Pending", await _run.OkAsync("get pvc data -o jsonpath={.status.phase}"));
        await _run.OkAsync(Of("""patch pv disk-@@ --type=json -p [{"op":"remove","path":"/spec/claimRef"}]"""));
        await UntilAsync("get pvc data -o jsonpath={.status.phase}", "Bound");
        await _run.OkAsync(Of("""patch pv disk-@@ -p {"spec":{"persistentVolumeReclaimPolicy":"Delete"}}"""));
        await _run.OkAsync("delete pvc data");
        await UntilAsync(Of("get pv disk-@@ -o jsonpath={.status.phase}:{.status.message}"), Of("Failed:error getting deleter volume plugin for volume \"disk-@@\": no deletable volume plugin matched"));
        await _run.OkAsync(Of("delete pv disk-@@"));
    }

    [SkippableFact]
    public async Task A_claim_of_local_volumes_waits_for_its_pod_which_goes_where_the_volume_is()
    {
        Requires.Kubectl();
        await ApplyAsync("""
            apiVersion: v1
            kind: Node
            metadata: {name: a-@@, labels: {kubernetes.io/hostname: a-@@}}
            ---
            apiVersion: v1
            kind: Node
            metadata: {name: b-@@, labels: {kubernetes.io/hostname: b-@@}}
            ---
            apiVersion: storage.k8s.io/v1
            kind: StorageClass
            metadata: {name: local-@@, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
            provisioner: kubernetes.io/no-provisioner
            volumeBindingMode: WaitForFirstConsumer
            ---
            apiVersion: v1
            kind: PersistentVolume
            metadata: {name: local-@@}
            spec:
              storageClassName: local-@@
              capacity: {storage: 1Gi}
              accessModes: [ReadWriteOnce]
              local: {path: /mnt/disk}
              nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [b-@@]}]}]}}
            """);
        foreach (var node in (string[])["a-@@", "b-@@"])
            await _run.OkAsync(Of($$$"""patch node {{{node}}} --subresource=status -p {"status":{"allocatable":{"cpu":"4","memory":"8Gi","pods":"110"},"conditions":[{"type":"Ready","status":"True"}]}}"""));
        Assert.Matches(Of(@"local-@@ \(default\)\s+kubernetes.io/no-provisioner\s+Delete\s+WaitForFirstConsumer\s+false"), await _run.OkAsync(Of("get sc local-@@")));
        await ApplyAsync("""
            apiVersion: v1
            kind: PersistentVolumeClaim
            metadata: {name: data}
            spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
            """);
        await UntilAsync("get events -o jsonpath={.items[*].message}", "waiting for first consumer to be created before binding", isWhole: false);
        Assert.Equal(Of("local-@@/Pending"), await _run.OkAsync("get pvc data -o jsonpath={.spec.storageClassName}/{.status.phase}"));

        // Where it must not go first: there is no volume.
        await ApplyAsync(Pod.Replace("NODE", "nodeSelector: {kubernetes.io/hostname: a-@@}", StringComparison.Ordinal));
        await UntilAsync("get pod user -o jsonpath={.status.conditions[*].message}", "1 node(s) didn't find available persistent volumes to bind", isWhole: false);
        Assert.Equal("Pending", await _run.OkAsync("get pvc data -o jsonpath={.status.phase}"));
        await _run.OkAsync("delete pod user --force --grace-period=0", withErrors: true);
        await ApplyAsync(Pod.Replace("NODE", "restartPolicy: Always", StringComparison.Ordinal));
        await UntilAsync("get pod user -o jsonpath={.spec.nodeName}", Of("b-@@"));
        Assert.Equal(Of("Bound/local-@@"), await _run.OkAsync("get pvc data -o jsonpath={.status.phase}/{.spec.volumeName}"));
        await _run.OkAsync("delete pod user --force --grace-period=0", withErrors: true);
        await _run.OkAsync("delete pvc data");
        await _run.OkAsync(Of("delete sc local-@@"));
        await _run.OkAsync(Of("delete node a-@@ b-@@"));
        await UntilAsync(Of("get pv local-@@ -o jsonpath={.status.phase}"), "Released");
    }

    [SkippableFact]
    public async Task An_ephemeral_volume_gets_its_claim_which_goes_with_the_pod()
    {
        Requires.Kubectl();
        await ApplyAsync("""
            apiVersion: v1
            kind: PersistentVolume
            metadata: {name: scratch-@@}
            spec: {storageClassName: scratch-@@, capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /mnt/scratch}}
            ---
            apiVersion: v1
            kind: Pod
            metadata: {name: user}
            spec:
              containers: [{name: c, image: busybox}]
              volumes:
              - name: scratch
                ephemeral: {volumeClaimTemplate: {spec: {storageClassName: scratch-@@, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}
            """);
        await UntilAsync("get pvc user-scratch --ignore-not-found -o jsonpath={.status.phase}/{.metadata.ownerReferences[0].name}", "Bound/user");
        await _run.OkAsync("delete pod user --force --grace-period=0", withErrors: true);
        await UntilAsync("get pvc -o name", "");
    }

    [SkippableFact]
    public async Task Pods_that_come_at_once_share_no_volume_and_all_get_theirs()
    {
        Requires.Kubectl();
        const int Pods = 10;
        var all = new StringBuilder("""
            apiVersion: v1
            kind: Node
            metadata: {name: n-@@, labels: {kubernetes.io/hostname: n-@@}}
            ---
            apiVersion: storage.k8s.io/v1
            kind: StorageClass
            metadata: {name: many-@@}
            provisioner: kubernetes.io/no-provisioner
            volumeBindingMode: WaitForFirstConsumer

            """);
        for (var i = 0; i < Pods; i++)
        {
            all.Append(CultureInfo.InvariantCulture, $$$"""
                ---
                apiVersion: v1
                kind: Pod
                metadata: {name: p{{{i}}} }
                spec:
                  nodeSelector: {kubernetes.io/hostname: n-@@}
                  containers: [{name: c, image: busybox}]
                  volumes: [{name: a, persistentVolumeClaim: {claimName: a{{{i}}} }}, {name: b, persistentVolumeClaim: {claimName: b{{{i}}} }}]

                """);
            foreach (var letter in (string[])["a", "b"])
            {
                all.Append(CultureInfo.InvariantCulture, $$$"""
                    ---
                    apiVersion: v1
                    kind: PersistentVolumeClaim
                    metadata: {name: {{{letter + i}}} }
                    spec: {storageClassName: many-@@, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}} }
                    ---
                    apiVersion: v1
                    kind: PersistentVolume
                    metadata: {name: {{{letter + i}}}-@@}
                    spec: {storageClassName: many-@@, capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /mnt/{{{letter + i}}} } }

                    """);
            }
        }

        await ApplyAsync(all.ToString());
        await _run.OkAsync(Of("""patch node n-@@ --subresource=status -p {"status":{"allocatable":{"cpu":"4","memory":"8Gi","pods":"110"},"conditions":[{"type":"Ready","status":"True"}]}}"""));
        await UntilAsync("get pods -o jsonpath={.items[*].spec.nodeName}", string.Join(' ', Enumerable.Repeat(Of("n-@@"), Pods)));
        var claims = (await _client!.ListAsync(ResourceKind.PersistentVolumeClaim, _run.Namespace, new ListOptions(), CancellationToken.None)).Items;
        var volumes = (await _client.ListAsync(ResourceKind.PersistentVolume, null, new ListOptions(), CancellationToken.None)).Items.ToDictionary(volume => volume.Name());
        Assert.Equal(2 * Pods, claims.Select(claim => claim.Text("spec", "volumeName")).Distinct().Count());
        Assert.All(claims, claim => Assert.Equal(("Bound", claim.Uid()), (claim.Text("status", "phase"), volumes[claim.Text("spec", "volumeName")].Text("spec", "claimRef", "uid"))));
        await _run.OkAsync("delete pods --all --force --grace-period=0", withErrors: true);
        await _run.OkAsync("delete pvc --all");
        await _run.OkAsync(Of("delete sc many-@@"));
        await _run.OkAsync(Of("delete node n-@@"));
    }

    [SkippableTheory]
    [InlineData("configmap", "configmaps")]
    [InlineData("secret generic", "secrets")]
    public async Task An_immutable_map_is_not_changed(string kind, string resource)
    {
        Requires.Kubectl();
        await _run.OkAsync($"create {kind} fixed --from-literal=a=b");
        await _run.OkAsync($$"""patch {{resource}} fixed -p {"immutable":true}""");
        Assert.Contains("data: Forbidden: field is immutable when `immutable` is set", await _run.FailAsync($$$"""patch {{{resource}}} fixed -p {"data":{"a":"Yw=="}}"""), StringComparison.Ordinal);
        Assert.Contains("immutable: Forbidden: field is immutable when `immutable` is set", await _run.FailAsync($$"""patch {{resource}} fixed -p {"immutable":false}"""), StringComparison.Ordinal);
        await _run.OkAsync($"label {resource} fixed seen=yes");
        await _run.OkAsync($"delete {resource} fixed");
    }

    private string Of(string text) => text.Replace("@@", _run.Namespace, StringComparison.Ordinal);

    private Task<string> ApplyAsync(string manifest) => _run.OkAsync($"apply -f {_run.File("manifest.yaml", Of(manifest))}");

    private async Task UntilAsync(string arguments, string expected, bool isWhole = true)
    {
        using var net = new CancellationTokenSource(TimeSpan.FromSeconds(90));
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
        var answer = "";
        while (true)
        {
            answer = (await _run.OkAsync(arguments)).Trim();
            if (isWhole ? answer == expected : answer.Contains(expected, StringComparison.Ordinal))
                return;
            try
            {
                await timer.WaitForNextTickAsync(net.Token);
            }
            catch (OperationCanceledException)
            {
                throw new TimeoutException($"waited for \"{expected}\" of kubectl {arguments}; last: {answer}");
            }
        }
    }
}
