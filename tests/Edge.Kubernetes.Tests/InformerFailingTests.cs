using System.Runtime.CompilerServices;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Kubernetes.Tests;

/// <summary>Since when an informer is not current, on a clock of the test's own.</summary>
[Trait("Category", "Kubernetes")]
public sealed class InformerFailingTests
{
    private readonly ManualTimeProvider _time = new(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));

    [Fact]
    public async Task Failing_is_counted_from_the_first_failure_until_a_watch_is_opened_and_a_quiet_watch_is_well()
    {
        var kube = new ScriptedKube();
        await using var informer = new Informer(kube, ResourceKind.ConfigMap, null, new ListOptions(), _time, new Random(1), NullLogger.Instance);
        Assert.Null(informer.WatchOpenedAt);
        kube.Watches.Writer.TryWrite("open");
        informer.Start((_, _) => default);
        await Eventually.HoldsAsync(() => informer.WatchOpenedAt is not null);
        // Nothing comes for an hour: that is no failure.
        _time.Advance(TimeSpan.FromHours(1));
        Assert.Null(informer.Failing);

        // The server ends it, and refuses the next ones. Lists between them change nothing: the watch is what fails.
        for (var i = 0; i < 5; i++)
            kube.Watches.Writer.TryWrite("fail");
        kube.EndOpenWatch();
        await Eventually.HoldsAsync(() => informer.Failing is not null);
        Assert.Contains("no watch today", informer.Failing!.Value.Why, StringComparison.Ordinal);
        // Its pauses are on this clock, too. It has asked once well and five times in vain when time enough has gone by.
        await Eventually.HoldsAsync(() =>
        {
            _time.Advance(TimeSpan.FromSeconds(1));
            return kube.Asked > 6 && informer.Failing is { } failing && failing.For > TimeSpan.FromSeconds(31);
        });
        kube.Watches.Writer.TryWrite("open");
        await Eventually.HoldsAsync(() =>
        {
            _time.Advance(TimeSpan.FromSeconds(1));
            return informer.Failing is null;
        });
        _time.Advance(TimeSpan.FromMinutes(10));
        Assert.Null(informer.Failing);
    }

    [Fact]
    public async Task List_that_fails_counts_too()
    {
        var kube = new ScriptedKube { ListsFail = true };
        await using var informer = new Informer(kube, ResourceKind.ConfigMap, null, new ListOptions(), _time, new Random(1), NullLogger.Instance);
        informer.Start((_, _) => default);
        await Eventually.HoldsAsync(() => informer.Failing is not null);
        _time.Advance(TimeSpan.FromSeconds(40));
        Assert.InRange(informer.Failing!.Value.For, TimeSpan.FromSeconds(39), TimeSpan.FromSeconds(41));
    }

    /// <summary>An API whose watches do what the test says, one word each.</summary>
    private sealed class ScriptedKube : IKubeClient
    {
        private TaskCompletionSource _end = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int _asked;

        public Channel<string> Watches { get; } = Channel.CreateUnbounded<string>();

        public bool ListsFail { get; init; }

        public int Asked => Volatile.Read(ref _asked);

        public void EndOpenWatch() => _end.TrySetResult();

        public Task<KubeList> ListAsync(ResourceKind kind, string? @namespace, ListOptions options, CancellationToken cancellationToken)
            => ListsFail ? throw new KubeException(0, "ConnectionLost", "nobody there") : Task.FromResult(new KubeList([], "1"));

        public async IAsyncEnumerable<WatchEvent> WatchAsync(
            ResourceKind kind, string? @namespace, string resourceVersion, ListOptions options, [EnumeratorCancellation] CancellationToken cancellationToken)
        {
            Interlocked.Increment(ref _asked);
            if (await Watches.Reader.ReadAsync(cancellationToken) == "fail")
                throw new KubeException(500, "InternalError", "no watch today");
            options.WatchOpened?.Invoke();
            await _end.Task.WaitAsync(cancellationToken);
            _end = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            yield break;
        }

        public Task<JsonObject> GetAsync(ResourceKind kind, string? @namespace, string name, CancellationToken cancellationToken) => throw new NotSupportedException();

        public Task<JsonObject?> TryGetAsync(ResourceKind kind, string? @namespace, string name, CancellationToken cancellationToken) => throw new NotSupportedException();

        public Task<JsonObject> CreateAsync(ResourceKind kind, string? @namespace, JsonObject obj, CancellationToken cancellationToken) => throw new NotSupportedException();

        public Task<JsonObject> UpdateAsync(ResourceKind kind, string? @namespace, JsonObject obj, string? subresource, CancellationToken cancellationToken) => throw new NotSupportedException();

        public Task<JsonObject> PatchAsync(
            ResourceKind kind, string? @namespace, string name, PatchKind patchKind, ReadOnlyMemory<byte> patch, string? subresource, CancellationToken cancellationToken)
            => throw new NotSupportedException();

        public Task<JsonObject> DeleteAsync(ResourceKind kind, string? @namespace, string name, JsonObject? options, CancellationToken cancellationToken) => throw new NotSupportedException();

        public Task<JsonObject> CreateSubresourceAsync(ResourceKind kind, string? @namespace, string name, string subresource, JsonObject body, CancellationToken cancellationToken)
            => throw new NotSupportedException();
    }
}
