using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Cloud.CloudHub;
using Edge.Cloud.EdgeController;
using Edge.Cloud.SyncController;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.Router;

/// <summary>Carries messages by Rules (kubeedge-wire §6): HTTP requests to edges, and what edges publish to HTTP services.</summary>
/// <remarks>
/// <para>Of each Rule the messages go one after the other. What an Edge peer uploads stays in its durable queue until the target took it: a message that was not taken is answered as failed,
/// and the edge sends it again; the targets that took it do not get it again (<see cref="UploadMemory"/>). What a stock edge uploads is tried for about half a minute, and then counted as failed.</para>
/// <para>A node's rules are served by the cloudcore that the node is connected to. Safe for concurrent calls.</para>
/// </remarks>
internal sealed class RouterService : IAsyncDisposable
{
    // Messages that wait for one Rule's target, and bytes that wait for all: beyond, the edges keep them.
    private const int LaneMax = 256;
    private const long WaitingBytesMax = 64 << 20;
    private const int EdgeTries = 3;
    private const int StockTries = 10;

    /// <summary>The answer while <see cref="IsRead"/> is false.</summary>
    public const string NotRead = "the Rules are not read yet; /readyz says why";

    private readonly Func<string, ISyncSession?> _sessionOf;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly Answers _answers;
    private readonly RestTarget _target;
    private readonly RuleStatusWriter _statuses;
    private readonly List<Informer> _informers = [];
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _gate = new();
    private readonly ConcurrentDictionary<string, Pending> _pending = new();
    private readonly Dictionary<string, Lane> _lanes = []; // by the Rule's uid; locked by _gate
    private readonly HashSet<string> _nodes = []; // whose sets are to be told; locked by _gate
    private readonly Dictionary<string, Told> _told = []; // the loop's own
    private readonly Dictionary<UploadKey, Delivery> _underWay = []; // locked by _gate
    private readonly UploadMemory _memory = new(); // locked by _gate

    // One wake for any number of nodes.
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { SingleReader = true, FullMode = BoundedChannelFullMode.DropWrite });
    private volatile RuleTable _table = RuleTable.Empty;
    private Dictionary<(string, string), string> _complained = []; // locked by _gate
    private Task _loop = Task.CompletedTask;
    private long _waiting;
    private long _waitingBytes;
    private long _taken;
    private long _failed;
    private long _notTaken;

    /// <param name="kube">The API.</param>
    /// <param name="sessionOf">The session of a connected node.</param>
    /// <param name="access">Where Rules may lead.</param>
    /// <param name="time">Clock.</param>
    /// <param name="random">Jitter; shared with nobody.</param>
    /// <param name="logger">Where operators are told.</param>
    public RouterService(IKubeClient kube, Func<string, ISyncSession?> sessionOf, TargetAccess access, TimeProvider time, Random random, ILogger logger)
    {
        _sessionOf = sessionOf;
        _time = time;
        _logger = logger;
        _answers = new Answers(time);
        _target = new RestTarget(time, new Random(random.Next()), access);
        _statuses = new RuleStatusWriter(kube, time, logger);
        _informers.AddRange(new[] { RuleKinds.Rule, RuleKinds.RuleEndpoint }.Select(kind => new Informer(kube, kind, null, new ListOptions(), time, new Random(random.Next()), logger)));
    }

    /// <summary>Whether the Rules are read; before, nothing can be said of a message.</summary>
    public bool IsRead => _informers.TrueForAll(informer => informer.Synced.IsCompletedSuccessfully);

    /// <summary>For <c>/readyz</c>: what of the Rules is not read yet or not current any more; null for nothing.</summary>
    public string? Problem => CloudCoreHost.InformerProblem(_informers);

    /// <summary>Starts to follow the Rules. Until they are read requests are to be refused with <see cref="IsRead"/>, uploads are answered as failed, and nodes keep the topics that they have.</summary>
    public void Start()
    {
        foreach (var informer in _informers)
        {
            informer.Start((change, _) =>
            {
                // A Rule's status is written here, and changes nothing.
                if (change.Old is null || change.Type == ChangeType.Deleted || !JsonNode.DeepEquals(change.Old["spec"], change.Object["spec"]) || change.Object.IsDeleting())
                    Rebuild();
                return ValueTask.CompletedTask;
            });
        }

        _statuses.Start();
        _loop = TellNodesAsync(_stop.Token);
    }

    /// <summary>A node's session began or ended. Never waits.</summary>
    public void NodeSession(string node, bool isConnected)
    {
        lock (_gate)
            _nodes.Add(node);
        _wake.Writer.TryWrite(true);
    }

    /// <summary>Takes an upload of a node: user data of its EventBus, an answer to a request, or a request of its ServiceBus. Never waits.</summary>
    public void Receive(ISyncSession session, Message message)
    {
        if (message.ParentId.Length > 0)
        {
            // Whoever answers must be the one that was asked.
            if (_pending.TryGetValue(message.ParentId, out var pending) && pending.Node == session.Node)
                pending.Answer.TrySetResult(message);
            return;
        }

        if (!IsRead)
        {
            if (message.Source == Sources.ServiceBus)
                session.Send(message.Error(_time, NotRead), isUrgent: true);
            else if (session.IsEdgeWire)
                session.Send(_answers.PlainError(message, new KubeException(503, "ServiceUnavailable", NotRead)));
            return;
        }

        if (message.Source == Sources.ServiceBus)
        {
            if (_table.FindService(session.Node, message.Resource) is not { } route)
                session.Send(message.Error(_time, $"no Rule of this node has the target_url '{message.Resource}'"), isUrgent: true);
            else
                Post(new Delivery(session, message, message.Resource, MessageCodec.Unwrap(message.Content).ToArray(), null, 1, []), [route]); // asked once, by who wants this answer
            return;
        }

        var topic = RouterMessages.TopicOf(message.Resource);
        var routes = topic is null ? [] : _table.FindUpload(session.Node, topic);
        if (routes.Count > 0)
        {
            Upload(session, message, topic!, routes);
            return;
        }

        Interlocked.Increment(ref _notTaken);
        // Its queue keeps an entry until it is answered.
        if (session.IsEdgeWire)
            session.Send(_answers.PlainError(message, Refusals.NotServed($"no Rule takes messages of topic '{topic ?? message.Resource}' from node '{session.Node}'")));
    }

    /// <summary>The rule for a path, see <see cref="RuleTable.FindRest"/>.</summary>
    public (Route Route, string Beyond)? FindRest(string @namespace, string path) => _table.FindRest(@namespace, path);

    /// <summary>Carries an HTTP request to the rule's target and returns its answer.</summary>
    public async Task<HttpReply> ForwardAsync(string node, Route route, HttpCall call, TimeSpan timeout, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(timeout, _time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        HttpReply reply;
        string? error;
        try
        {
            (reply, error) = route.Target == EndpointType.Rest ? (await _target.CallAsync(route.Url!, call, both.Token), null) : await AskNodeAsync(node, route, call, both.Token);
        }
        catch (HttpRequestException e)
        {
            error = $"{route.Url}: {e.Message}";
            reply = HttpReply.Text(502, error);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            error = $"wait to get response time out: no answer within {timeout.TotalSeconds:0} s";
            reply = HttpReply.Text(408, error);
        }

        Count(route, error);
        return reply;
    }

    /// <summary>Figures in Prometheus' text form.</summary>
    public string Render()
    {
        var text = new StringBuilder();
        void Add(string name, string type, string help, long value) => text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {help}\n# TYPE {name} {type}\n{name} {value}\n");
        Add("edge_router_rules", "gauge", "Rules that are used.", _table.Routes.Count);
        Add("edge_router_waiting_messages", "gauge", "Messages of edges that wait for their target.", Interlocked.Read(ref _waiting));
        Add("edge_router_waiting_bytes", "gauge", "Bytes of these, at most 64 MiB.", Interlocked.Read(ref _waitingBytes));
        Add("edge_router_pending_requests", "gauge", "Requests to edges without an answer yet.", _pending.Count);
        Add("edge_router_taken_total", "counter", "Messages that their target took.", Interlocked.Read(ref _taken));
        Add("edge_router_failed_total", "counter", "Messages that their target did not take.", Interlocked.Read(ref _failed));
        Add("edge_router_unruled_total", "counter", "Uploads that no Rule takes.", Interlocked.Read(ref _notTaken));
        long parts;
        long forgotten;
        lock (_gate)
            (parts, forgotten) = (_memory.Parts, _memory.Forgotten);
        Add("edge_router_partly_taken_messages", "gauge", "Uploads that some of their targets are done with and others are not, at most 131072.", parts);
        Add("edge_router_forgotten_total", "counter", "Uploads that some of their targets are done with and get once more, because 131072 newer ones waited likewise.", forgotten);
        return text.ToString();
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        foreach (var informer in _informers)
            await informer.DisposeAsync();
        await _loop;
        List<Lane> lanes;
        lock (_gate)
            lanes = [.. _lanes.Values];
        foreach (var lane in lanes)
            lane.Queue.Writer.TryComplete();
        await Task.WhenAll(lanes.Select(lane => lane.Running));
        await _statuses.DisposeAsync();
        _target.Dispose();
        _stop.Dispose();
    }

    private async Task<(HttpReply Reply, string? Error)> AskNodeAsync(string node, Route route, HttpCall call, CancellationToken cancellationToken)
    {
        if (_sessionOf(node) is not { } session)
            return Fail(502, $"node '{node}' is not connected to this cloudcore");
        var message = route.Target == EndpointType.EventBus ? RouterMessages.Publish(_time, route, call) : RouterMessages.Call(_time, route, call);
        // With what stands around the content, still below what a link takes.
        if (message.Content.Length > MessageLimits.MessageSizeMax - 65_536)
            return Fail(413, $"the request is {message.Content.Length} bytes as a message; a link takes {MessageLimits.MessageSizeMax}");
        if (route.Target == EndpointType.EventBus && !session.IsEdgeWire)
        {
            // A stock edge does not answer.
            session.Send(message);
            return (HttpReply.Text(200, "message delivered"), null);
        }

        var pending = new Pending(node);
        _pending[message.Id] = pending;
        try
        {
            session.Send(message);
            var answer = await pending.Answer.Task.WaitAsync(cancellationToken);
            if (answer.Operation == Operations.Error)
                return Fail(502, $"node '{node}': {Encoding.UTF8.GetString(MessageCodec.Unwrap(answer.Content).Span)}");
            if (RouterMessages.ReadReply(answer, out var error) is not { } reply)
                return Fail(502, $"node '{node}' gave an answer that is none: {error}");
            return (reply, route.Target == EndpointType.EventBus && reply.Status >= 300 ? Encoding.UTF8.GetString(reply.Body) : null);
        }
        finally
        {
            _pending.TryRemove(message.Id, out _);
        }

        static (HttpReply, string?) Fail(int status, string text) => (HttpReply.Text(status, text), text);
    }

    // An edge sends an entry again when the answer was lost, was a failure or takes long, and after it was killed.
    private void Upload(ISyncSession session, Message message, string topic, List<Route> routes)
    {
        var body = MessageCodec.Unwrap(message.Content).ToArray();
        var upload = UploadKey.Of(session.Node, Upstream.VersionOf(session, message), message.Id, topic, body);
        Delivery delivery;
        lock (_gate)
        {
            if (_underWay.TryGetValue(upload, out var before))
            {
                before.AnswerTo(session, message);
                return;
            }

            if (_memory.AnswerTo(upload) is { } outcome)
            {
                Answer(session, message, Before(outcome));
                return;
            }

            delivery = new Delivery(session, message, topic, body, upload, routes.Count, _memory.Take(upload));
            _underWay.Add(upload, delivery);
        }

        Post(delivery, routes);
    }

    private void Post(Delivery delivery, List<Route> routes)
    {
        var size = delivery.Body.Length;
        if (Interlocked.Add(ref _waitingBytes, size) > WaitingBytesMax)
        {
            Interlocked.Add(ref _waitingBytes, -size);
            Finish(delivery, new Delivered(DeliveryOutcome.Failed, $"{WaitingBytesMax >> 20} MiB wait for targets already", []));
            foreach (var route in routes.Where(route => delivery.OutcomeAt(route) is null))
                Count(route, "too much waits for targets already");
            return;
        }

        Interlocked.Increment(ref _waiting);
        foreach (var route in routes)
        {
            // Another Rule's target did not take it.
            if (delivery.OutcomeAt(route) is { } outcome)
                End(route, delivery, Before(outcome), isAgain: true);
            else if (!LaneOf(route).Queue.Writer.TryWrite((route, delivery)))
                End(route, delivery, new Delivered(DeliveryOutcome.Failed, $"{LaneMax} messages wait for this Rule's target already", []));
        }
    }

    private static Delivered Before(DeliveryOutcome outcome) => new(outcome, outcome == DeliveryOutcome.Taken ? "" : "a Rule's target has refused the message before", []);

    private Lane LaneOf(Route route)
    {
        lock (_gate)
        {
            if (_lanes.TryGetValue(route.Uid, out var lane))
                return lane;
            lane = _lanes[route.Uid] = new Lane();
            lane.Running = Task.Run(() => DeliverAsync(lane));
            return lane;
        }
    }

    private async Task DeliverAsync(Lane lane)
    {
        await foreach (var (route, delivery) in lane.Queue.Reader.ReadAllAsync(CancellationToken.None))
        {
            try
            {
                if (_stop.IsCancellationRequested)
                    continue; // the edge has it still
                var delivered = await _target.PostAsync(
                    route.Url!, delivery.Body, delivery.Id, delivery.Node, delivery.Topic, delivery.Tries, _stop.Token);
                End(route, delivery, delivered);
            }
            catch (OperationCanceledException) when (_stop.IsCancellationRequested)
            {
                // Stopping; an Edge peer sends it again.
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                RouterLog.Defect(_logger, e);
                End(route, delivery, new Delivered(DeliveryOutcome.Failed, "the router met a defect; see its log", []));
            }
        }
    }

    // One Rule is done with the message; the last one answers, with the worst that happened.
    private void End(Route route, Delivery delivery, Delivered delivered, bool isAgain = false)
    {
        if (!isAgain)
        {
            Count(route, delivered.Outcome == DeliveryOutcome.Taken ? null : delivered.Error);
            if (delivered.Outcome != DeliveryOutcome.Taken)
                RouterLog.NotDelivered(_logger, route.Namespace, route.Name, delivery.Node, delivered.Error);
        }

        if (delivery.End(route, delivered) is not { } worst)
            return;
        Interlocked.Decrement(ref _waiting);
        Interlocked.Add(ref _waitingBytes, -delivery.Body.Length);
        Finish(delivery, worst);
    }

    private void Finish(Delivery delivery, Delivered worst)
    {
        if (delivery.Upload is { } upload)
        {
            // What is sent again after this finds what came of it.
            lock (_gate)
            {
                _underWay.Remove(upload);
                if (worst.Outcome == DeliveryOutcome.Failed)
                    _memory.Keep(upload, delivery.Done);
                else
                    _memory.Answered(upload, worst.Outcome);
            }
        }

        Answer(delivery.Session, delivery.Message, worst);
    }

    private void Answer(ISyncSession session, Message message, Delivered delivered)
    {
        if (message.Source == Sources.ServiceBus)
        {
            session.Send(
                delivered.Outcome == DeliveryOutcome.Taken
                    ? message.Response(_time, MessageCodec.JsonString(Encoding.UTF8.GetString(delivered.Body)))
                    : message.Error(_time, delivered.Error),
                isUrgent: true);
            return;
        }

        if (session.IsEdgeWire)
        {
            session.Send(delivered.Outcome switch
            {
                DeliveryOutcome.Taken => _answers.Ok(message),
                DeliveryOutcome.Refused => _answers.PlainError(message, Refusals.BadRequest(delivered.Error)),
                _ => _answers.PlainError(message, new KubeException(503, "ServiceUnavailable", delivered.Error)),
            });
        }
    }

    private void Count(Route route, string? error)
    {
        Interlocked.Increment(ref error is null ? ref _taken : ref _failed);
        _statuses.Add(route.Namespace, route.Name, error);
    }

    private void Rebuild()
    {
        // One kind without the other has Rules that only seem to be wrong, and nodes would drop topics.
        if (!IsRead)
            return;
        lock (_gate)
        {
            var before = _table;
            _table = RuleTable.Build(_informers[0].List(), _informers[1].List());
            _nodes.UnionWith(before.Nodes);
            _nodes.UnionWith(_table.Nodes);
            Complain(_table.Problems);
            foreach (var uid in _lanes.Keys.Where(uid => !_table.Routes.Any(route => route.Uid == uid)).ToList())
            {
                _lanes.Remove(uid, out var lane);
                lane!.Queue.Writer.TryComplete();
            }
        }

        _wake.Writer.TryWrite(true);
    }

    private void Complain(IReadOnlyDictionary<(string Namespace, string Name), string> problems)
    {
        foreach (var ((ns, name), problem) in problems)
        {
            if (_complained.GetValueOrDefault((ns, name)) == problem)
                continue;
            RouterLog.NotUsed(_logger, ns, name, problem);
            _statuses.Add(ns, name, $"not used: {problem}", isMessage: false);
        }

        _complained = new Dictionary<(string, string), string>(problems);
    }

    private async Task TellNodesAsync(CancellationToken cancellationToken)
    {
        try
        {
            await Task.WhenAll(_informers.Select(informer => informer.Synced)).WaitAsync(cancellationToken);
            Rebuild();
            while (await _wake.Reader.WaitToReadAsync(cancellationToken))
            {
                _wake.Reader.TryRead(out _);
                List<string> nodes;
                lock (_gate)
                {
                    nodes = [.. _nodes];
                    _nodes.Clear();
                }

                foreach (var node in nodes)
                    Tell(node);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    private void Tell(string node)
    {
        if (_sessionOf(node) is not { } session)
        {
            _told.Remove(node);
            return;
        }

        var table = _table;
        var now = new Told(session, table.TopicsOf(node), table.UrlsOf(node));
        var before = _told.GetValueOrDefault(node);
        var isNew = before is null || !ReferenceEquals(before.Session, session);
        _told[node] = now;
        if (session.IsEdgeWire)
        {
            if (isNew || !before!.Topics.SetEquals(now.Topics))
                session.Send(RouterMessages.Set(_time, Sources.RouterEventBus, RouterResources.Topics, now.Topics));
            if (isNew || !before!.Urls.SetEquals(now.Urls))
                session.Send(RouterMessages.Set(_time, Sources.RouterServiceBus, RouterResources.Urls, now.Urls));
            return;
        }

        Differences(session, Sources.RouterEventBus, Operations.Subscribe, Operations.Unsubscribe, isNew ? [] : before!.Topics, now.Topics);
        Differences(session, Sources.RouterServiceBus, Operations.Start, Operations.Stop, isNew ? [] : before!.Urls, now.Urls);
    }

    private void Differences(ISyncSession session, string source, string begin, string end, SortedSet<string> before, SortedSet<string> now)
    {
        foreach (var gone in before.Where(one => !now.Contains(one)))
            session.Send(RouterMessages.Single(_time, source, end, gone));
        foreach (var one in now.Where(one => !before.Contains(one)))
            session.Send(RouterMessages.Single(_time, source, begin, one));
    }

    private sealed record Told(ISyncSession Session, SortedSet<string> Topics, SortedSet<string> Urls);

    private sealed record Pending(string Node)
    {
        public TaskCompletionSource<Message> Answer { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    /// <summary>What waits for one Rule's target, and who posts it.</summary>
    private sealed class Lane
    {
        // Wait, with TryWrite: a full lane is told to the edge.
        public Channel<(Route Route, Delivery Delivery)> Queue { get; } = Channel.CreateBounded<(Route, Delivery)>(new BoundedChannelOptions(LaneMax) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });

        public Task Running { get; set; } = Task.CompletedTask;
    }

    /// <summary>One message on its way to the targets of one or more Rules.</summary>
    /// <param name="upload">What it is remembered as; null for one that is not.</param>
    /// <param name="targets">How many <see cref="End"/>s there will be.</param>
    /// <param name="before">The targets that were done with it before.</param>
    private sealed class Delivery(ISyncSession session, Message message, string topic, byte[] body, UploadKey? upload, int targets, IReadOnlyList<TargetDone> before)
    {
        private readonly Lock _gate = new();
        private readonly List<TargetDone> _done = [.. before];
        private int _left = targets;
        private Delivered? _worst;

        public UploadKey? Upload { get; } = upload;

        public string Id { get; } = upload?.ToString() ?? message.Id;

        public string Node { get; } = session.Node;

        public string Topic { get; } = topic;

        public byte[] Body { get; } = body;

        /// <summary>At each target.</summary>
        public int Tries { get; } = session.IsEdgeWire ? EdgeTries : StockTries;

        /// <summary>Who is answered: who sent it last. As the next, locked by the service as long as it is under way.</summary>
        public ISyncSession Session { get; private set; } = session;

        public Message Message { get; private set; } = message;

        /// <summary>The targets that are done with it; for who ends it.</summary>
        public IReadOnlyList<TargetDone> Done => [.. _done];

        public void AnswerTo(ISyncSession session, Message message) => (Session, Message) = (session, message);

        /// <summary>What came of it at the Rule's target before; null: it has not been there, or failed.</summary>
        public DeliveryOutcome? OutcomeAt(Route route)
        {
            foreach (var done in before)
            {
                if (done.Rule == route.Uid)
                    return done.Outcome;
            }

            return null;
        }

        /// <summary>One target is done. The worst outcome of all when it was the last.</summary>
        public Delivered? End(Route route, Delivered delivered)
        {
            lock (_gate)
            {
                if (delivered.Outcome != DeliveryOutcome.Failed && OutcomeAt(route) is null)
                    _done.Add(new TargetDone(route.Uid, delivered.Outcome));
                if (_worst is null || delivered.Outcome > _worst.Outcome)
                    _worst = delivered;
                return --_left == 0 ? _worst : null;
            }
        }
    }
}
