using Edge.ApiServer.Backup;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.Local;

/// <summary>The cluster is put back to a backup while an edge has gone on.</summary>
[Trait("Category", "Devices")]
[Collection(nameof(EdgeCollection))]
public sealed class RestoredClusterTests
{
    private static readonly TimeSpan s_long = TimeSpan.FromMinutes(1);
    private static readonly string[] s_keys = ["default/pod/web", "default/configmap/app", "default/secret/key", "default/devicemodel/m", "default/device/d"];

    [SkippableFact]
    public async Task What_was_deleted_after_the_backup_is_at_the_edge_again_after_the_restore()
    {
        Requires.Kubectl();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions());
        await edge.KubectlAsync("apply -f -", Objects);
        await UntilAsync(edge, s_keys.Length, "the objects are at the edge");
        var archive = Path.Combine(edge.Local.Directory, "backup.tar.gz");
        ApiBackup.Write(CloudData(edge), archive, TimeProvider.System);

        // Later versions, and then their ends.
        await edge.KubectlAsync(["patch", "configmap", "app", "-p", """{"data":{"value":"two"} }"""]);
        await edge.KubectlAsync(["patch", "device", "d", "--type=merge", "-p", """{"metadata":{"labels":{"a":"b"} } }"""]);
        await edge.KubectlAsync("delete device/d devicemodel/m configmap/app secret/key");
        await edge.KubectlAsync("delete pod web --force --grace-period=0");
        await UntilAsync(edge, 0, "they are gone from the edge");

        await edge.Local.KillCloudCoreAsync();
        ApiBackup.Restore(archive, CloudData(edge), TimeProvider.System);
        await edge.Local.RestartCloudCoreAsync(CancellationToken.None);
        await UntilAsync(edge, s_keys.Length, "they are at the edge again");
    }

    private const string Objects = """
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: app, namespace: default}
        data: {value: one}
        ---
        apiVersion: v1
        kind: Secret
        metadata: {name: key, namespace: default}
        stringData: {value: one}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: web, namespace: default}
        spec:
          nodeName: edge-1
          containers:
          - {name: c, image: "example.invalid/web:1", envFrom: [{configMapRef: {name: app}}, {secretRef: {name: key}}]}
        ---
        apiVersion: devices.kubeedge.io/v1beta1
        kind: DeviceModel
        metadata: {name: m, namespace: default}
        spec:
          protocol: test
          properties: [{name: temperature, type: INT, accessMode: ReadOnly}]
        ---
        apiVersion: devices.kubeedge.io/v1beta1
        kind: Device
        metadata: {name: d, namespace: default}
        spec:
          deviceModelRef: {name: m}
          nodeName: edge-1
          protocol: {protocolName: test}
          properties: [{name: temperature, visitors: {protocolName: test}}]
        """;

    private static string CloudData(TestEdge edge) => Path.Combine(edge.Local.Directory, "cloud");

    private static Task UntilAsync(TestEdge edge, int count, string description)
        => edge.WaitForAsync(description, () => Task.FromResult(s_keys.Count(key => EdgeRows.Version(edge.Local.Nodes[0], key) is not null) == count), s_long);
}
