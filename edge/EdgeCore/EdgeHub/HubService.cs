using System.Globalization;
using System.Security.Cryptography;
using Edge.Common.Storage;
using Edge.Core.Configuration;
using Edge.Protocol.Messages;
using Edge.Transport;
using Microsoft.Extensions.Logging;

namespace Edge.Core.EdgeHub;

/// <summary>The way to the cloud: enrols, connects, reconnects, renews the certificate, and carries the queue and requests.</summary>
internal sealed class HubService : IHubLink
{
    private static readonly TimeSpan s_backoffFirst = TimeSpan.FromSeconds(0.5);
    private static readonly TimeSpan s_backoffMax = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_stable = TimeSpan.FromSeconds(10);
    private readonly EdgeCoreOptions _options;
    private readonly TimeProvider _time;
    private readonly Random _random;
    private readonly ILogger _log;
    private readonly UplinkQueue _queue;
    private readonly PendingRequests _pending = new();
    private readonly NodeIdentity _identity;
    private readonly Lock _gate = new();
    private Connection? _connection;
    private TaskCompletionSource _connected = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _generation;
    private long _failedConnects;

    public HubService(EdgeCoreOptions options, SqliteDatabase database, TimeProvider time, Random random, ILoggerFactory loggers)
    {
        _options = options;
        _time = time;
        _random = random;
        _log = loggers.CreateLogger("EdgeHub");
        _queue = new UplinkQueue(database, options.EdgeHub, time, _log);
        _identity = new NodeIdentity(options.EdgeHub, options.NodeName, time);
    }

    public event Action<UplinkRejection>? EntryRejected
    {
        add => _queue.Rejected += value;
        remove => _queue.Rejected -= value;
    }

    public bool IsConnected => _connection is not null;

    public long Generation
    {
        get
        {
            lock (_gate)
                return _connection is null ? 0 : _generation;
        }
    }

    /// <summary>Connections made since the start.</summary>
    public long Connections => Interlocked.Read(ref _generation);

    public long FailedConnects => Interlocked.Read(ref _failedConnects);

    public int PendingCount => _pending.Count;

    public UplinkFigures Figures() => _queue.Figures();

    public ValueTask PostAsync(UplinkEntry entry, CancellationToken cancellationToken) => _queue.PostAsync(entry, cancellationToken);

    public Task<Message> RequestAsync(Message request, TimeSpan timeout, CancellationToken cancellationToken) => RequestAsync(request, timeout, acknowledge: true, cancellationToken);

    public Task<Message> RequestUnacknowledgedAsync(Message request, TimeSpan timeout, CancellationToken cancellationToken) => RequestAsync(request, timeout, acknowledge: false, cancellationToken);

    public async ValueTask AcknowledgeAsync(Message answer, CancellationToken cancellationToken)
    {
        if (_connection is not { } connection || connection.Session.Acknowledgement(answer) is not { } ok)
            return;
        try
        {
            await connection.Link.SendAsync(ok, cancellationToken);
        }
        catch (LinkException e)
        {
            HubLog.AckNotSent(_log, answer.Resource, e.Message);
        }
    }

    public async Task<long> ConnectedAfterAsync(long generation, CancellationToken cancellationToken)
    {
        while (true)
        {
            Task signal;
            lock (_gate)
            {
                if (_connection is not null && _generation > generation)
                    return _generation;
                signal = _connected.Task;
            }

            await signal.WaitAsync(cancellationToken);
        }
    }

    /// <summary>Runs until cancelled. Network trouble never ends it.</summary>
    /// <exception cref="Common.Configuration.ConfigException">There is neither a certificate nor a usable token.</exception>
    public async Task RunAsync(IMetaMessages meta, ITwinMessages? twin, CancellationToken cancellationToken)
    {
        try
        {
            var credentials = await EnsureCredentialsAsync(cancellationToken);
            var dialer = new HubDialer(_options.EdgeHub, _options.NodeName, _time);
            var backoff = new Backoff(_random, s_backoffFirst, s_backoffMax);
            while (true)
            {
                var (reason, wasConnected, renewed) = await ConnectOnceAsync(dialer, credentials, meta, twin, backoff, cancellationToken);
                cancellationToken.ThrowIfCancellationRequested();
                if (renewed is not null)
                {
                    credentials = renewed;
                    continue;
                }

                var delay = backoff.Next();
                if (wasConnected)
                    HubLog.LinkEnded(_log, _options.EdgeHub.Server, reason, (long)delay.TotalMilliseconds);
                else
                    HubLog.ConnectFailed(_log, _options.EdgeHub.Server, reason, (long)delay.TotalMilliseconds);
                await Task.Delay(delay, _time, cancellationToken);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The program stops.
        }
    }

    private async Task<Credentials> EnsureCredentialsAsync(CancellationToken cancellationToken)
    {
        if (_identity.Load(out var problem) is { } present)
        {
            if (present.Certificate.NotAfter.ToUniversalTime() < _time.GetUtcNow() && _options.EdgeHub.Token.Length == 0)
                HubLog.CertificateExpired(_log, _options.EdgeHub.CertificateFile, Text(present));
            if (present.Certificate.NotAfter.ToUniversalTime() >= _time.GetUtcNow() || _options.EdgeHub.Token.Length == 0)
                return present;
            problem = $"the certificate {_options.EdgeHub.CertificateFile} expired at {Text(present)}";
        }

        if (problem.Length > 0 && _options.EdgeHub.Token.Length > 0)
            HubLog.IdentityUnusable(_log, problem);
        var backoff = new Backoff(_random, s_backoffFirst, s_backoffMax);
        while (true)
        {
            try
            {
                var credentials = await _identity.EnrolAsync(problem, cancellationToken);
                HubLog.Enrolled(_log, _options.NodeName, _options.EdgeHub.CertificateFile, Text(credentials));
                return credentials;
            }
            catch (Exception e) when (e is EnrolmentException or CryptographicException or IOException or UnauthorizedAccessException)
            {
                var delay = backoff.Next();
                HubLog.EnrolFailed(_log, _options.EdgeHub.HttpServer, e.Message, (long)delay.TotalMilliseconds);
                await Task.Delay(delay, _time, cancellationToken);
            }
        }
    }

    private async Task<(string Reason, bool WasConnected, Credentials? Renewed)> ConnectOnceAsync(
        HubDialer dialer, Credentials credentials, IMetaMessages meta, ITwinMessages? twin, Backoff backoff, CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var renewal = _options.EdgeHub.RotateCertificates ? RenewAsync(credentials, stop) : Task.FromResult<Credentials?>(null);
        var reason = "";
        var wasConnected = false;
        try
        {
            var dialed = await dialer.DialAsync(credentials, stop.Token);
            await using var link = dialed.Link;
            wasConnected = true;
            var since = _time.GetTimestamp();
            var session = new HubSession(link, _queue, _pending, meta, twin, TimeSpan.FromSeconds(_options.EdgeHub.HeartbeatSeconds), _time, _log);
            reason = await session.RunAsync(() => SetConnected(new Connection(link, session)), stop.Token);
            SetDisconnected(reason);
            if (dialed.Socket.CloseStatusDescription is { Length: > 0 } said)
                reason = $"CloudCore closed it: {said}";
            if (_time.GetElapsedTime(since) >= s_stable)
                backoff.Reset();
        }
        catch (LinkException e)
        {
            Interlocked.Increment(ref _failedConnects);
            reason = e.Message;
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            reason = "stopping";
        }

        await stop.CancelAsync();
        return (reason, wasConnected, await renewal);
    }

    // Waits for the time of renewal, renews, and ends the session so that it is made anew with the new certificate. Null when stopped first.
    private async Task<Credentials?> RenewAsync(Credentials credentials, CancellationTokenSource stop)
    {
        double share;
        lock (_random)
            share = _random.NextDouble();
        var at = NodeIdentity.RenewalTime(credentials.Certificate, share);
        var backoff = new Backoff(_random, TimeSpan.FromSeconds(2), s_backoffMax);
        try
        {
            while (true)
            {
                // In steps: one timer holds at most 49 days, and the clock may be set meanwhile.
                var left = at - _time.GetUtcNow();
                if (left > TimeSpan.Zero)
                {
                    await Task.Delay(left < TimeSpan.FromHours(1) ? left : TimeSpan.FromHours(1), _time, stop.Token);
                    continue;
                }

                try
                {
                    var renewed = await _identity.RenewAsync(credentials, stop.Token);
                    HubLog.Renewed(_log, Text(renewed));
                    await stop.CancelAsync();
                    return renewed;
                }
                catch (Exception e) when (e is EnrolmentException or CryptographicException or IOException or UnauthorizedAccessException)
                {
                    var delay = backoff.Next();
                    HubLog.RenewFailed(_log, _options.EdgeHub.HttpServer, e.Message, (long)delay.TotalMilliseconds);
                    await Task.Delay(delay, _time, stop.Token);
                }
            }
        }
        catch (OperationCanceledException)
        {
            return null;
        }
    }

    private async Task<Message> RequestAsync(Message request, TimeSpan timeout, bool acknowledge, CancellationToken cancellationToken)
    {
        var connection = _connection ?? throw new UplinkException($"{request.Operation} {request.Resource}: not connected to the cloud");
        var answer = _pending.Add(request.Id, _queue.NextSequence(), acknowledge);
        try
        {
            await connection.Link.SendAsync(request, cancellationToken);
            return await answer.WaitAsync(timeout, _time, cancellationToken);
        }
        catch (LinkException e)
        {
            throw new UplinkException($"{request.Operation} {request.Resource}: {e.Message}");
        }
        catch (TimeoutException)
        {
            throw new UplinkException($"{request.Operation} {request.Resource}: no answer within {timeout.TotalSeconds:0.#} s");
        }
        finally
        {
            _pending.Remove(request.Id);
        }
    }

    private void SetConnected(Connection connection)
    {
        lock (_gate)
        {
            _connection = connection;
            _generation++;
            _connected.TrySetResult();
            _connected = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        HubLog.Connected(_log, _options.EdgeHub.Server, _options.NodeName);
    }

    private void SetDisconnected(string reason)
    {
        lock (_gate)
            _connection = null;
        _pending.FailAll($"the link to the cloud went down: {reason}");
    }

    private static string Text(Credentials credentials) => credentials.Certificate.NotAfter.ToUniversalTime().ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    private sealed record Connection(ILink Link, HubSession Session);
}
