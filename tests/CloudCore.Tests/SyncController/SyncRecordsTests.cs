using System.Text.Json.Nodes;
using Edge.Cloud.Observability;
using Edge.Cloud.SyncController;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Cloud.Tests;

[Trait("Category", "Sync")]
public sealed class SyncRecordsTests : IAsyncLifetime
{
    private readonly FakeKube _kube = new();
    private readonly HubMetrics _metrics = new();
    private SyncRecords _records = null!;
    private bool _isStopped;

    public Task InitializeAsync()
    {
        _records = new SyncRecords(_kube, TimeProvider.System, new Random(1), _metrics, NullLogger.Instance);
        return Task.CompletedTask;
    }

    public Task DisposeAsync() => StopAsync();

    [Fact]
    public async Task Acknowledged_object_gets_a_record_as_kubeedge_writes_it_and_a_fingerprint()
    {
        _records.Acked(Record("a", 5));
        await StopAsync();
        var record = await _kube.GetAsync(ResourceKind.ObjectSync, "default", "n1.a", CancellationToken.None);
        Assert.Equal(("v1", "Pod", "pod-a"), (record.Text("spec", "objectAPIVersion"), record.Text("spec", "objectKind"), record.Text("spec", "objectName")));
        Assert.Equal("5", record.Text("status", "objectResourceVersion"));
        Assert.Equal("0000000000000069", record.Annotation("edge.kubeedge.io/fingerprint"));
        Assert.Equal(Record("a", 5), SyncRecord.TryRead(record));
    }

    [Fact]
    public async Task Cluster_scoped_object_gets_a_ClusterObjectSync()
    {
        _records.Acked(Record("a", 5) with { Namespace = "", Kind = "Node", Name = "n1" });
        await StopAsync();
        var record = await _kube.GetAsync(ResourceKind.ClusterObjectSync, null, "n1.a", CancellationToken.None);
        Assert.Equal(("Node", "5"), (record.Text("spec", "objectKind"), record.Text("status", "objectResourceVersion")));
        Assert.Equal("null/node/n1", SyncRecord.TryRead(record)!.ToItem()!.Key);
    }

    [Fact]
    public async Task Object_that_was_only_sent_is_recorded_with_version_0()
    {
        _records.Sent(Record("a", 5));
        await StopAsync();
        Assert.Equal("0", (await _kube.GetAsync(ResourceKind.ObjectSync, "default", "n1.a", CancellationToken.None)).Text("status", "objectResourceVersion"));
    }

    [Theory]
    [InlineData("4", "5")]
    [InlineData("9", "9")]
    public async Task Of_two_cloudcores_the_higher_version_wins(string theirs, string left)
    {
        var made = await _kube.CreateAsync(ResourceKind.ObjectSync, "default", Record("a", 1).ToJson(), CancellationToken.None);
        await _kube.PatchAsync(
            ResourceKind.ObjectSync, "default", made.Name(), PatchKind.Merge,
            System.Text.Encoding.UTF8.GetBytes($$$"""{"status":{"objectResourceVersion":"{{{theirs}}}"}}"""), "status", CancellationToken.None);
        _records.Acked(Record("a", 5));
        await StopAsync();
        Assert.Equal(left, (await _kube.GetAsync(ResourceKind.ObjectSync, "default", "n1.a", CancellationToken.None)).Text("status", "objectResourceVersion"));
    }

    [Fact]
    public async Task Write_that_meets_another_in_between_looks_again()
    {
        var isFirst = true;
        _kube.OnWrite = (verb, plural, name) =>
        {
            if (verb == "patch" && isFirst)
            {
                isFirst = false;
                throw new KubeException(409, "Conflict", "modified");
            }
        };
        _records.Acked(Record("a", 5));
        await StopAsync();
        Assert.Equal("5", (await _kube.GetAsync(ResourceKind.ObjectSync, "default", "n1.a", CancellationToken.None)).Text("status", "objectResourceVersion"));
        Assert.False(isFirst);
    }

    [Fact]
    public async Task Api_that_fails_is_tried_again_and_delays_nobody()
    {
        var failures = 0;
        var written = new TaskCompletionSource();
        _kube.OnWrite = (verb, plural, name) =>
        {
            if (failures++ < 2)
                throw new KubeException(503, "Unavailable", "busy");
            written.TrySetResult();
        };
        _records.Acked(Record("a", 5));
        Assert.Equal(5, Assert.Single(_records.Of("n1")).Version);
        await written.Task.WaitAsync(TimeSpan.FromSeconds(20));
        Assert.InRange(failures, 3, 4); // a record takes two writes, and the second may be there already
    }

    [Fact]
    public async Task Namespace_that_is_gone_drops_its_record()
    {
        _kube.OnWrite = (verb, plural, name) =>
        {
            if (name == "n1.a")
                throw new KubeException(404, "NotFound", "namespace not found");
        };
        _records.Acked(Record("a", 5));
        _records.Acked(Record("b", 5));
        await StopAsync();
        Assert.Equal("n1.b", Assert.Single((await _kube.ListAsync(ResourceKind.ObjectSync, null, new ListOptions(), CancellationToken.None)).Items).Name());
        Assert.Equal(0, _records.Waiting);
        Assert.Contains("edge_cloudhub_queue_drops_total{queue=\"syncrecords\"} 1\n", _metrics.Render(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Records_of_a_deleted_node_are_deleted_and_no_list_is_made()
    {
        foreach (var key in (string[])["n1.a", "n1.b", "n2.c"])
        {
            Assert.True(RecordKey.TryParse(key, out var parsed));
            var made = await _kube.CreateAsync(ResourceKind.ObjectSync, "default", (Record(parsed.Uid, 5) with { Key = parsed }).ToJson(), CancellationToken.None);
            _records.Changed(new ObjectChange(ChangeType.Added, made, null));
        }

        _records.RemoveNode("n1");
        await StopAsync();
        Assert.Equal("n2.c", Assert.Single((await _kube.ListAsync(ResourceKind.ObjectSync, null, new ListOptions(), CancellationToken.None)).Items).Name());
        Assert.Equal(2, _metrics.SyncRecordWrites);
    }

    // Writes what waits.
    private async Task StopAsync()
    {
        if (_isStopped)
            return;
        _isStopped = true;
        await _records.DisposeAsync();
    }

    private static SyncRecord Record(string uid, long version) => new(new RecordKey("n1", uid), "default", "v1", "Pod", $"pod-{uid}", version, (ulong)version + 100);
}
