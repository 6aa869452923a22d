using Edge.Kubernetes;
using Edge.Local;
using Xunit;

namespace Edge.Interop.Tests;

/// <summary>A claim on its whole way: kubectl, binder, scheduler, CloudCore, EdgeCore, container, disk.</summary>
[Trait("Category", "Pods")]
[Collection(nameof(EdgeCollection))]
public sealed class ClaimTests(SharedEdge shared)
{
    private static readonly TimeSpan s_long = TimeSpan.FromMinutes(3);

    [SkippableFact]
    public async Task What_a_pod_writes_into_its_claim_is_on_the_host_and_outlives_the_pod()
    {
        var edge = await shared.GetAsync();
        var disk = Directory.CreateTempSubdirectory("edge-claim-");
        try
        {
            await edge.KubectlAsync("apply -f -", $$$"""
                apiVersion: v1
                kind: PersistentVolume
                metadata: {name: disk}
                spec: {storageClassName: manual, capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: "{{{disk.FullName}}}", type: Directory}}
                ---
                apiVersion: v1
                kind: PersistentVolumeClaim
                metadata: {name: data, namespace: default}
                spec: {storageClassName: manual, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}} }
                """);
            await WriteAsync("first");
            Assert.Equal("first\n", await File.ReadAllTextAsync(Path.Combine(disk.FullName, "log")));
            Assert.Equal("Bound/disk", (await edge.KubectlAsync("get pvc data -o jsonpath={.status.phase}/{.spec.volumeName}")).Trim());
            await edge.KubectlAsync("delete pod first --timeout=60s");
            await WriteAsync("second");
            Assert.Equal("first\nsecond\n", await File.ReadAllTextAsync(Path.Combine(disk.FullName, "log")));

            // The claim stays as long as the pod, the volume and its files longer.
            await edge.KubectlAsync("delete pvc data --wait=false");
            Assert.NotEmpty(await edge.KubectlAsync("get pvc data -o jsonpath={.metadata.deletionTimestamp}"));
            await edge.KubectlAsync("delete pod second --timeout=60s");
            await edge.WaitForAsync("the claim goes", async () => await edge.Client.TryGetAsync(ResourceKind.PersistentVolumeClaim, "default", "data", CancellationToken.None) is null, s_long);
            await edge.WaitForAsync("the volume is released", async () => (await edge.KubectlAsync("get pv disk -o jsonpath={.status.phase}")).Trim() == "Released", s_long);
            Assert.Equal(2, (await File.ReadAllLinesAsync(Path.Combine(disk.FullName, "log"))).Length);
        }
        finally
        {
            await edge.KubectlAsync("delete pod first second --ignore-not-found --force --grace-period=0");
            await edge.KubectlAsync("delete pvc data --ignore-not-found --timeout=60s");
            await edge.KubectlAsync("delete pv disk --ignore-not-found --timeout=60s");
            disk.Delete(recursive: true);
        }

        async Task WriteAsync(string pod)
        {
            await edge.KubectlAsync("apply -f -", $$$"""
                apiVersion: v1
                kind: Pod
                metadata: {name: {{{pod}}}, namespace: default}
                spec:
                  nodeSelector: {kubernetes.io/hostname: edge-1}
                  terminationGracePeriodSeconds: 1
                  volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]
                  containers:
                  - name: c
                    image: "{{{LocalEdge.BusyboxImage}}}"
                    command: [sh, -c, "echo {{{pod}}} >> /data/log && exec sleep 100000"]
                    volumeMounts: [{name: v, mountPath: /data}]
                """);
            await edge.WaitForAsync($"pod {pod} runs", async () => (await edge.KubectlAsync($"get pod {pod} -o jsonpath={{.status.phase}}")).Trim() == "Running", s_long);
            await edge.WaitForAsync($"pod {pod} has written", () => Task.FromResult(File.Exists(Path.Combine(disk.FullName, "log")) && File.ReadAllText(Path.Combine(disk.FullName, "log")).EndsWith(pod + "\n", StringComparison.Ordinal)), s_long);
        }
    }
}
