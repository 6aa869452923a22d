using System.Text;
using System.Threading.Channels;
using Edge.Core.Configuration;
using Edge.Core.EdgeHub;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;
using Edge.Testing;
using Edge.Transport;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>A session over a link of lists and a clock that stands still.</summary>
[Trait("Category", "Sync")]
public sealed class HubSessionTests : IAsyncDisposable
{
    private static readonly TimeSpan s_beat = TimeSpan.FromSeconds(15);
    private readonly TempDirectory _directory = new();
    private readonly ManualTimeProvider _time = new(new DateTimeOffset(2026, 11, 21, 0, 0, 0, TimeSpan.Zero));
    private readonly Edge.Common.Storage.SqliteDatabase _database;
    private readonly SlowMeta _meta = new();
    private readonly CancellationTokenSource _stop = new();

    public HubSessionTests() => _database = EdgeDatabase.Open(_directory.File("edgecore.db"), TimeProvider.System);

    public async ValueTask DisposeAsync()
    {
        await _database.DisposeAsync();
        _stop.Dispose();
        _directory.Dispose();
    }

    [Fact]
    public async Task A_cloud_that_says_nothing_is_cut_after_exactly_two_beats()
    {
        var link = new ListLink(_time, isEdgeWire: true);
        var running = Run(link);
        _time.Advance(s_beat - TimeSpan.FromSeconds(1));
        link.Hear();
        _time.Advance((s_beat * 2) - TimeSpan.FromMilliseconds(1));
        Assert.False(link.IsAborted);
        _time.Advance(TimeSpan.FromMilliseconds(1));
        await link.Aborted.WaitAsync(TimeSpan.FromSeconds(20));
        Assert.StartsWith("nothing was heard from the cloud for 30 s", await running, StringComparison.Ordinal);
        Assert.Null(link.Closed); // nobody is there to answer a close
    }

    [Fact]
    public async Task Any_byte_keeps_the_link()
    {
        var link = new ListLink(_time, isEdgeWire: true);
        var running = Run(link);
        for (var i = 0; i < 20; i++)
        {
            _time.Advance(TimeSpan.FromSeconds(20));
            link.Hear();
        }

        Assert.False(link.IsAborted);
        await _stop.CancelAsync();
        Assert.Equal("stopping", await running);
        Assert.Equal("the node is stopping or has a new certificate", link.Closed);
    }

    [Fact]
    public async Task A_stock_cloud_may_be_silent_for_ever_since_its_WebSocket_answers_pings()
    {
        var link = new ListLink(_time, isEdgeWire: false);
        var running = Run(link);
        _time.Advance(TimeSpan.FromHours(1));
        Assert.False(link.IsAborted);
        Assert.DoesNotContain(link.Sent.SelectMany(batch => batch), message => message.Source == Sources.MetaManager);
        await _stop.CancelAsync();
        await running;
    }

    [Fact]
    public async Task What_waits_for_a_slow_disk_is_not_the_silence_of_the_cloud()
    {
        var link = new ListLink(_time, isEdgeWire: true);
        var running = Run(link);
        for (var i = 0; i < 200; i++)
            link.Come(Object(i));
        await HubServiceTests.WaitUntilAsync(() => _meta.Count >= 129); // the bound of objects that wait is reached: reading stops
        await HubServiceTests.WaitUntilAsync(() => link.IsReading == false);
        _time.Advance(TimeSpan.FromMinutes(5));
        Assert.False(link.IsAborted);
        _meta.Commit();
        await HubServiceTests.WaitUntilAsync(() => link.Sent.SelectMany(batch => batch).Count(message => message.Operation == Operations.Response) == 200);
        await _stop.CancelAsync();
        await running;
    }

    [Fact]
    public async Task The_answers_of_one_commit_go_out_together_and_in_the_order_of_arrival()
    {
        var link = new ListLink(_time, isEdgeWire: true);
        var running = Run(link);
        for (var i = 0; i < 64; i++)
            link.Come(Object(i));
        await HubServiceTests.WaitUntilAsync(() => _meta.Count == 64);
        // The first answer is held on its way, so that all others are ready when the next batch is made.
        var before = link.Sent.Count;
        var release = link.HoldNext();
        _meta.Commit();
        await HubServiceTests.WaitUntilAsync(() => link.Sent.Count > before);
        release();
        bool All() => link.Sent.Skip(before).SelectMany(batch => batch).Count(message => message.Operation == Operations.Response) == 64;
        await HubServiceTests.WaitUntilAsync(All);
        Assert.Equal(Enumerable.Range(0, 64).Select(i => $"m{i}"), link.Sent.Skip(before).SelectMany(batch => batch).Select(message => message.ParentId));
        Assert.InRange(link.Sent.Count - before, 1, 2);
        await _stop.CancelAsync();
        await running;
    }

    [Fact]
    public async Task An_answer_that_is_ready_does_not_wait_for_the_next_commit()
    {
        var link = new ListLink(_time, isEdgeWire: true);
        var running = Run(link);
        link.Come(Object(0));
        link.Come(Object(1));
        await HubServiceTests.WaitUntilAsync(() => _meta.Count == 2);
        _meta.CommitFirst();
        await HubServiceTests.WaitUntilAsync(() => link.Sent.SelectMany(batch => batch).Any(message => message.ParentId == "m0"));
        Assert.DoesNotContain(link.Sent.SelectMany(batch => batch), message => message.ParentId == "m1");
        _meta.Commit();
        await _stop.CancelAsync();
        await running;
    }

    [Fact]
    public async Task A_doubt_sends_the_digest_again_with_the_next_keepalive_and_only_once()
    {
        var link = new ListLink(_time, isEdgeWire: true);
        var running = Run(link);
        int Digests() => link.Sent.SelectMany(batch => batch).Count(message => message.Resource == InventoryMessages.DigestResource);
        Assert.Equal(1, Digests());
        link.Hear();
        await BeatAsync(link);
        Assert.Equal(1, Digests());
        _meta.Doubts = 3;
        await BeatAsync(link);
        Assert.Equal(2, Digests());
        await BeatAsync(link);
        Assert.Equal(2, Digests());
        await _stop.CancelAsync();
        await running;
    }

    [Fact]
    public async Task Keepalive_goes_only_where_nothing_was_said_or_heard_within_a_beat()
    {
        var link = new ListLink(_time, isEdgeWire: true);
        var running = Run(link);
        // A lease and its answer, again and again.
        for (var i = 0; i < 12; i++)
        {
            _time.Advance(s_beat * 0.6);
            link.Hear();
            link.Write();
        }

        Assert.Equal(1, Keepalives(link)); // the greeting's
        // It still hears, but says nothing: the cloud has no sign of it.
        for (var i = 0; i < 3; i++)
        {
            link.Hear();
            _time.Advance(s_beat * 0.4);
        }

        await HubServiceTests.WaitUntilAsync(() => Keepalives(link) == 2);
        // And the other way round.
        for (var i = 0; i < 3; i++)
        {
            link.Write();
            _time.Advance(s_beat * 0.4);
        }

        await HubServiceTests.WaitUntilAsync(() => Keepalives(link) == 3);
        await _stop.CancelAsync();
        await running;
    }

    private static int Keepalives(ListLink link) => link.Sent.SelectMany(batch => batch).Count(message => message.Operation == Operations.Keepalive);

    private async Task BeatAsync(ListLink link)
    {
        var before = Keepalives(link);
        link.Hear();
        _time.Advance(s_beat);
        await HubServiceTests.WaitUntilAsync(() => Keepalives(link) == before + 1);
    }

    private Task<string> Run(ListLink link)
    {
        var queue = new UplinkQueue(new SqliteUplinkStore(_database, _time, NullLogger.Instance), new EdgeHubOptions(), _time, NullLogger.Instance);
        return new HubSession(link, queue, new PendingRequests(), _meta, null, s_beat, _time, NullLogger.Instance).RunAsync(() => { }, _stop.Token);
    }

    private static Message Object(int i) => new()
    {
        Id = $"m{i}",
        Source = Sources.EdgeController,
        Group = Groups.Resource,
        Operation = Operations.Update,
        Resource = $"default/configmap/c{i}",
        Content = Encoding.UTF8.GetBytes("{}"),
    };

    /// <summary>Keeps what is sent, gives what a test lets come.</summary>
    private sealed class ListLink(TimeProvider time, bool isEdgeWire) : ILink
    {
        private readonly Channel<Message> _coming = Channel.CreateUnbounded<Message>();
        private readonly TaskCompletionSource _aborted = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly List<IReadOnlyList<Message>> _sent = [];
        private long _heardAt = time.GetTimestamp();
        private long _wroteAt;
        private int _reading;
        private TaskCompletionSource? _held;

        public bool IsEdgeWire => isEdgeWire;

        public long HeardAt => Volatile.Read(ref _heardAt);

        public long WroteAt => Volatile.Read(ref _wroteAt);

        public bool IsReading => Volatile.Read(ref _reading) != 0;

        public bool IsAborted => _aborted.Task.IsCompleted;

        public Task Aborted => _aborted.Task;

        public string? Closed { get; private set; }

        public IReadOnlyList<IReadOnlyList<Message>> Sent
        {
            get
            {
                lock (_sent)
                    return [.. _sent];
            }
        }

        public void Write() => Volatile.Write(ref _wroteAt, time.GetTimestamp());

        public void Hear() => Volatile.Write(ref _heardAt, time.GetTimestamp());

        public void Come(Message message) => _coming.Writer.TryWrite(message);

        public ValueTask SendAsync(Message message, CancellationToken cancellationToken) => SendAsync([message], cancellationToken);

        /// <summary>The next batch is seen as sent, but its sender waits until the result is called.</summary>
        public Action HoldNext()
        {
            var held = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            Volatile.Write(ref _held, held);
            return held.SetResult;
        }

        public async ValueTask SendAsync(IReadOnlyList<Message> messages, CancellationToken cancellationToken)
        {
            var held = Interlocked.Exchange(ref _held, null);
            lock (_sent)
                _sent.Add([.. messages]);
            if (held is not null)
                await held.Task;
        }

        public async ValueTask<Message?> ReceiveAsync(Action<string> onMalformed, CancellationToken cancellationToken)
        {
            Volatile.Write(ref _reading, 1);
            var first = await Task.WhenAny(_coming.Reader.WaitToReadAsync(cancellationToken).AsTask(), _aborted.Task);
            if (first == _aborted.Task)
                throw new LinkException("aborted");
            await first;
            Volatile.Write(ref _reading, 0);
            Hear();
            return await _coming.Reader.ReadAsync(cancellationToken);
        }

        public ValueTask CloseAsync(string reason)
        {
            Closed = reason;
            return ValueTask.CompletedTask;
        }

        public void Abort() => _aborted.TrySetResult();

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }

    /// <summary>Answers when a test says that the commit is done.</summary>
    private sealed class SlowMeta : IMetaMessages
    {
        private readonly List<(Message Message, TaskCompletionSource<Message?> Done)> _waiting = [];
        private bool _committed;

        public long Doubts { get; set; }

        public int Count
        {
            get
            {
                lock (_waiting)
                    return _waiting.Count;
            }
        }

        public Task<Message?> HandleAsync(Message message)
        {
            var done = new TaskCompletionSource<Message?>(TaskCreationOptions.RunContinuationsAsynchronously);
            lock (_waiting)
            {
                _waiting.Add((message, done));
                if (_committed)
                    done.SetResult(message.Response(TimeProvider.System, MessageCodec.Ok));
            }

            return done.Task;
        }

        public void CommitFirst() => _waiting[0].Done.SetResult(_waiting[0].Message.Response(TimeProvider.System, MessageCodec.Ok));

        public void Commit()
        {
            lock (_waiting)
            {
                _committed = true;
                foreach (var (message, done) in _waiting)
                    done.TrySetResult(message.Response(TimeProvider.System, MessageCodec.Ok));
            }
        }

        public (int Count, InventoryDigest Digest) InventoryDigest() => (0, new InventoryDigest(1));

        public InventoryPart InventoryPart(int of, IReadOnlyList<int> buckets) => new(of, buckets, []);
    }
}
