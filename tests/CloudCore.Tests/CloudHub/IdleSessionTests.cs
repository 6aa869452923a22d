using Edge.Cloud.CloudHub;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.Observability;
using Edge.Protocol.Messages;
using Edge.Transport;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Cloud.Tests;

/// <summary>What a session costs while nothing happens.</summary>
[Trait("Category", "Sync")]
public sealed class IdleSessionTests
{
    [Fact]
    public async Task An_idle_session_is_a_few_hundred_bytes()
    {
        const int Sessions = 2_000;
        using var wheel = new TimerWheel(TimeProvider.System);
        var context = new SessionContext(new SessionTimes(), wheel, TimeProvider.System, new HubMetrics(), NullLogger.Instance);
        var owner = new NoOwner();
        var links = Enumerable.Range(0, Sessions).Select(_ => new SilentLink()).ToList();
        var (sessions, running) = (new HubSession[Sessions], new Task[Sessions]);
        Start(0); // what the first one makes for all
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 1; i < Sessions; i++)
            Start(i);
        // 1,008 in a Debug build, whose async methods are two objects each; what is thrown away at once is among it.
        Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - before) / (Sessions - 1), 100, 1_200);
        foreach (var link in links)
            link.Abort();
        await Task.WhenAll(running).WaitAsync(TimeSpan.FromSeconds(60));

        void Start(int i)
        {
            sessions[i] = new HubSession("edge-1", links[i], owner, new SessionLimits(), context);
            running[i] = sessions[i].RunAsync();
            sessions[i].Open();
        }
    }

    private sealed class NoOwner : ISessionOwner
    {
        public ValueTask ReceivedAsync(HubSession session, Message message, CancellationToken cancellationToken) => ValueTask.CompletedTask;

        public void InventoryMissing(HubSession session)
        {
        }

        public void Stored(HubSession session, DownObject obj)
        {
        }

        public void Refused(HubSession session, DownObject obj, string reason)
        {
        }
    }

    // Nothing comes, and what goes is gone.
    private sealed class SilentLink : ILink
    {
        private readonly TaskCompletionSource<Message?> _end = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public bool IsEdgeWire => true;

        public long HeardAt => TimeProvider.System.GetTimestamp();

        public ValueTask SendAsync(Message message, CancellationToken cancellationToken) => ValueTask.CompletedTask;

        public ValueTask SendAsync(IReadOnlyList<Message> messages, CancellationToken cancellationToken) => ValueTask.CompletedTask;

        public ValueTask<Message?> ReceiveAsync(Action<string> onMalformed, CancellationToken cancellationToken) => new(_end.Task);

        public ValueTask CloseAsync(string reason) => ValueTask.CompletedTask;

        public void Abort() => _end.TrySetResult(null);

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
