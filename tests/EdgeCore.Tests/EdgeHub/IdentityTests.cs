using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Edge.Core.EdgeHub;
using Edge.Protocol.Messages;
using ManualTimeProvider = Edge.Testing.ManualTimeProvider;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>How a running node keeps its certificate and the CAs it trusts.</summary>
[Trait("Category", "Sync")]
public sealed class IdentityTests : IAsyncDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly FakeCloud _cloud = new();

    public async ValueTask DisposeAsync()
    {
        await _cloud.DisposeAsync();
        _directory.Dispose();
    }

    [Fact]
    public async Task Rotations_under_traffic_lose_nothing_either_way()
    {
        const int Count = 60;
        const int Rotations = 4;
        // Each certificate is past its renewal time when it comes, until the last.
        _cloud.Validity = (TimeSpan.FromDays(-95), TimeSpan.FromDays(5));
        await _cloud.StartAsync();
        await using var edge = new RunningEdge(RunningEdge.Options(_cloud, _directory, "modules.edgeHub.messageQPS=10000", "modules.edgeHub.messageBurst=10000"));
        await edge.Log.WaitForAsync("connected to");
        var (acked, answered) = (new HashSet<string>(), new HashSet<string>());
        // The node's own modules ask too: what a request, an entry and an object each become is looked at by name.
        var asking = Task.Run(async () =>
        {
            for (var i = 0; i < Count; i++)
            {
                await Connected(edge);
                var request = Query($"ask-{i}");
                await edge.Hub.RequestAsync(request, TimeSpan.FromSeconds(20), CancellationToken.None);
                answered.Add(request.Resource);
            }
        });
        var posting = Task.Run(async () =>
        {
            for (var i = 0; i < Count; i++)
                await edge.Host.Uplink.PostAsync(Status($"up-{i}"), CancellationToken.None);
        });
        var down = Enumerable.Range(0, Count).Select(i => FakeCloud.Down(Operations.Update, $"default/configmap/down-{i}", ConfigMap($"down-{i}"), "7")).ToList();
        var ids = down.Select(message => message.Id).ToHashSet();
        var telling = Task.Run(async () =>
        {
            // As a cloud does: what is not acknowledged is sent again, on whatever connection there is.
            while (acked.Count < Count)
            {
                foreach (var message in down.Where(message => !acked.Contains(message.Id)).Take(8).ToList())
                    await _cloud.TrySendAsync(message);
                acked.UnionWith(_cloud.Seen().Where(message => message.Operation == Operations.Response).Select(message => message.ParentId).Intersect(ids));
                if (_cloud.Renewals >= Rotations)
                    _cloud.Validity = (TimeSpan.FromDays(-1), TimeSpan.FromDays(365));
                await Task.Delay(10);
            }
        });
        await Task.WhenAll(asking, posting, telling).WaitAsync(TimeSpan.FromSeconds(60));
        await HubServiceTests.WaitUntilAsync(() => _cloud.Renewals > Rotations || _cloud.Validity.From == TimeSpan.FromDays(-1));
        await HubServiceTests.WaitUntilAsync(() => edge.Hub.Figures().Depth[(int)UplinkPriority.PodStatus] == 0);

        Assert.True(_cloud.Renewals >= Rotations, $"{_cloud.Renewals} rotations");
        Assert.Equal(1, _cloud.Enrolments);
        Assert.Equal(Count, answered.Count);
        var up = _cloud.Seen().Where(message => message.Resource.StartsWith("default/podpatch/up-", StringComparison.Ordinal)).Select(message => message.Resource).ToHashSet();
        Assert.Equal(Count, up.Count);
        Assert.All(Enumerable.Range(0, Count), i => Assert.NotNull(edge.Host.Meta.Get("configmap", "default", $"down-{i}")));
        Assert.Equal(0, edge.Hub.FailedConnects);
    }

    [Fact]
    public async Task Request_that_is_open_when_the_rotation_comes_is_answered_before_the_session_ends()
    {
        var (held, open) = (new TaskCompletionSource<Message>(), HoldRenewals());
        _cloud.Answer = message =>
        {
            if (message.Resource != "default/configmap/slow")
                return _cloud.DefaultAnswer(message);
            held.TrySetResult(message);
            return null;
        };
        await _cloud.StartAsync();
        await using var edge = new RunningEdge(RunningEdge.Options(_cloud, _directory));
        await Connected(edge);
        var asked = edge.Hub.RequestAsync(Query("slow"), TimeSpan.FromMinutes(1), CancellationToken.None);
        var request = await held.Task.WaitAsync(TimeSpan.FromSeconds(20));
        open.SetResult();
        // The session waits for the answer, and a request made now waits for the next session.
        await edge.Log.WaitForAsync("certificate renewed");
        for (var i = 0; i < 3; i++)
        {
            // It still carries what comes down.
            var down = FakeCloud.Down(Operations.Update, $"default/configmap/down-{i}", ConfigMap($"down-{i}"), "7");
            await _cloud.SendAsync(down);
            await _cloud.NextAsync(message => message.ParentId == down.Id, "ack");
        }

        Assert.Equal(1, edge.Hub.Connections);
        await _cloud.SendAsync(FakeCloud.Reply(request, ConfigMap("slow")));
        Assert.Equal("default/configmap/slow", (await asked).Resource);
        await edge.Hub.RequestAsync(Query("later"), TimeSpan.FromMinutes(1), CancellationToken.None);
        await edge.Hub.ConnectedAfterAsync(1, CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(20));
        Assert.Single(_cloud.Seen(), message => message.Resource == "default/configmap/slow" && message.Operation == Operations.Query);
    }

    [Fact]
    public async Task Request_that_the_cloud_never_answers_holds_a_rotation_up_for_seconds_only_and_is_asked_again()
    {
        var open = HoldRenewals();
        var (asked, first) = (0, new TaskCompletionSource());
        _cloud.Answer = message =>
        {
            if (message is not { Operation: Operations.Query, Resource: "default/configmap/slow" } || Interlocked.Increment(ref asked) > 1)
                return _cloud.DefaultAnswer(message);
            first.TrySetResult();
            return null;
        };
        await _cloud.StartAsync();
        await using var edge = new RunningEdge(RunningEdge.Options(_cloud, _directory));
        await Connected(edge);
        var answer = edge.Hub.RequestAsync(Query("slow"), TimeSpan.FromMinutes(1), CancellationToken.None);
        await first.Task.WaitAsync(TimeSpan.FromSeconds(20));
        open.SetResult();
        await answer;
        Assert.Equal((2, 2), (asked, edge.Hub.Connections));
    }

    [Theory]
    [InlineData(0, 70)]
    [InlineData(0.5, 80)]
    [InlineData(1, 90)]
    public void Certificate_is_renewed_between_70_and_90_percent_of_its_life(double share, int percent)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var from = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
        using var certificate = new CertificateRequest("CN=x", key, HashAlgorithmName.SHA256).CreateSelfSigned(from, from.AddDays(100));
        Assert.Equal(from.AddDays(percent), NodeIdentity.RenewalTime(certificate, share));
    }

    [Fact]
    public async Task Certificate_that_runs_out_while_the_node_runs_is_replaced_with_the_token()
    {
        _cloud.Validity = (TimeSpan.FromDays(-1), TimeSpan.FromHours(1));
        _cloud.RefuseRenewal = 500;
        await _cloud.StartAsync();
        var time = new ShiftedTime();
        await using var edge = new RunningEdge(RunningEdge.Options(_cloud, _directory), time: time);
        await Connected(edge);
        _cloud.Validity = (TimeSpan.FromDays(-1), TimeSpan.FromDays(365));
        time.Shift = TimeSpan.FromHours(2);
        await edge.Hub.ConnectedAfterAsync(1, CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(60));
        Assert.Equal((2, 0), (_cloud.Enrolments, _cloud.Renewals));
        Assert.Contains("expired at", await edge.Log.WaitForAsync("enrolling again with the token"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Certificate_that_the_cloud_refuses_is_replaced_with_the_token_while_the_node_runs()
    {
        await _cloud.StartAsync();
        await using var edge = new RunningEdge(RunningEdge.Options(_cloud, _directory, "modules.edgeHub.rotateCertificates=false"));
        await edge.Log.WaitForAsync("connected to");
        var serial = Serial();
        _cloud.Accepts = certificate => certificate.SerialNumber != serial;
        _cloud.Cut();
        await HubServiceTests.WaitUntilAsync(() => edge.Hub is { Connections: 2, IsConnected: true });
        Assert.Equal(2, _cloud.Enrolments);
        Assert.NotEqual(serial, Serial());
        await edge.Log.WaitForAsync("CloudCore refused the certificate");
    }

    [Fact]
    public async Task Certificate_that_a_cloud_cannot_judge_yet_is_kept_and_tried_again()
    {
        await _cloud.StartAsync();
        await using var edge = new RunningEdge(RunningEdge.Options(_cloud, _directory));
        await Connected(edge);
        var serial = Serial();
        (_cloud.Refuse, _cloud.RefusedBecause) = (503, "the client certificate is of a CA that is not known here yet");
        _cloud.Cut();
        await edge.Log.WaitForAsync("refused the connection with 503: the client certificate is of a CA that is not known here yet");
        // Nor where the hub refuses it and the renewal cannot be judged.
        (_cloud.Refuse, _cloud.RefuseRenewal) = (403, 503);
        await edge.Log.WaitForAsync("/edge.crt answered 503");
        _cloud.Refuse = 0;
        await HubServiceTests.WaitUntilAsync(() => edge.Hub is { Connections: 2, IsConnected: true });
        Assert.Equal((1, 0), (_cloud.Enrolments, _cloud.Renewals));
        Assert.Equal(serial, Serial());
    }

    [Fact]
    public async Task Without_a_token_a_refused_certificate_is_said_once_an_hour_and_the_node_goes_on()
    {
        await _cloud.StartAsync();
        await using (var edge = new RunningEdge(RunningEdge.Options(_cloud, _directory)))
            await edge.Log.WaitForAsync("connected to");
        _cloud.Accepts = _ => false;
        var time = new ManualTimeProvider(DateTimeOffset.UtcNow);
        await using var again = new RunningEdge(RunningEdge.Options(_cloud, _directory, "modules.edgeHub.token="), time: time);
        await again.Log.WaitForAsync("modules.edgeHub.token is empty: the cloud does not take this node");
        // The clock moves only between two tries, so that none of them runs into its deadline.
        async Task NextTryAsync()
        {
            var failures = again.Hub.FailedConnects;
            time.Advance(TimeSpan.FromSeconds(25));
            await HubServiceTests.WaitUntilAsync(() =>
            {
                if (again.Hub.FailedConnects > failures || again.Hub.IsConnected)
                    return true;
                time.Advance(TimeSpan.FromMilliseconds(100));
                return false;
            });
        }

        for (var i = 0; i < 8; i++)
            await NextTryAsync();
        Assert.Single(Reminders(again));
        Assert.False(again.Running.IsCompleted);
        // As soon as the cloud takes it again, it is back.
        _cloud.Accepts = _ => true;
        for (var i = 0; i < 8 && !again.Hub.IsConnected; i++)
            await NextTryAsync();
        Assert.True(again.Hub.IsConnected);
    }

    [Fact]
    public void Reminder_comes_at_once_and_then_once_in_its_time()
    {
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch);
        var pace = new Pace(time, TimeSpan.FromHours(1));
        Assert.True(pace.IsDue());
        time.Advance(TimeSpan.FromMinutes(59));
        Assert.False(pace.IsDue());
        time.Advance(TimeSpan.FromMinutes(1));
        Assert.True(pace.IsDue());
        Assert.False(pace.IsDue());
    }

    [Fact]
    public async Task Expired_certificate_without_a_token_leaves_the_session_and_the_node_alone()
    {
        await _cloud.StartAsync();
        _cloud.Validity = (TimeSpan.FromDays(-1), TimeSpan.FromHours(1));
        _cloud.RefuseRenewal = 500;
        await using (var first = new RunningEdge(RunningEdge.Options(_cloud, _directory, "modules.edgeHub.rotateCertificates=false")))
            await first.Log.WaitForAsync("connected to");
        var time = new ShiftedTime();
        await using var edge = new RunningEdge(RunningEdge.Options(_cloud, _directory, "modules.edgeHub.token="), time: time);
        await Connected(edge);
        time.Shift = TimeSpan.FromHours(2);
        await HubServiceTests.WaitUntilAsync(() => Reminders(edge).Length == 1);
        Assert.Contains("expired at", Reminders(edge)[0], StringComparison.Ordinal);
        Assert.True(edge.Hub is { IsConnected: true, Connections: 1 });
    }

    [Fact]
    public async Task Node_that_knows_only_the_former_CA_connects_after_a_rollover_by_the_chain_that_the_hub_sends()
    {
        await _cloud.StartAsync();
        await using var edge = new RunningEdge(RunningEdge.Options(_cloud, _directory));
        await edge.Log.WaitForAsync("connected to");
        var former = Assert.Single(Authorities()).Thumbprint;
        await _cloud.StopAsync();
        _cloud.RollOver();
        await _cloud.StartAsync();
        await HubServiceTests.WaitUntilAsync(() => edge.Hub is { Connections: 2, IsConnected: true });
        Assert.Equal(1, _cloud.Enrolments);
        Assert.Equal(former, Assert.Single(Authorities()).Thumbprint);
    }

    [Fact]
    public async Task Renewal_learns_the_new_CA_and_the_end_of_the_former_one_and_an_old_token_still_fits()
    {
        await _cloud.StartAsync();
        var options = RunningEdge.Options(_cloud, _directory);
        var identity = new NodeIdentity(options.EdgeHub, "edge-node", TimeProvider.System);
        var credentials = await identity.EnrolAsync("", CancellationToken.None);
        var former = _cloud.Ca;
        await _cloud.StopAsync();
        _cloud.RollOver();
        await _cloud.StartAsync();
        credentials = await identity.RenewAsync(credentials, CancellationToken.None);
        Assert.Equal([_cloud.Ca.Thumbprint, former.Thumbprint], credentials.Authorities.Select(one => one.Thumbprint));
        _cloud.Bundle = _cloud.Ca.ExportCertificatePem();
        credentials = await identity.RenewAsync(credentials, CancellationToken.None);
        Assert.Equal([_cloud.Ca.Thumbprint], credentials.Authorities.Select(one => one.Thumbprint));

        // The token in the config is still that of the former CA: no reason to think of another cloud. A token of a third one is.
        Assert.NotNull(identity.Load(out _));
        var stranger = new string('a', 64) + options.EdgeHub.Token[64..];
        Assert.Null(new NodeIdentity(options.EdgeHub with { Token = stranger }, "edge-node", TimeProvider.System).Load(out var problem));
        Assert.Contains("another cloud", problem, StringComparison.Ordinal);
    }

    [Fact]
    public async Task CAs_that_do_not_vouch_for_the_server_itself_are_not_taken()
    {
        await using var other = new FakeCloud();
        await _cloud.StartAsync();
        var options = RunningEdge.Options(_cloud, _directory).EdgeHub;
        var identity = new NodeIdentity(options, "edge-node", TimeProvider.System);
        var credentials = await identity.EnrolAsync("", CancellationToken.None);
        _cloud.Bundle = other.Ca.ExportCertificatePem();
        var error = await Assert.ThrowsAsync<EnrolmentException>(() => identity.RefreshTrustAsync(credentials, CancellationToken.None));
        Assert.Contains("do not vouch for the server", error.Message, StringComparison.Ordinal);
        Assert.Equal([_cloud.Ca.Thumbprint], Authorities().Select(one => one.Thumbprint));
    }

    // The system's timers with a clock that can be set: what runs out by the clock does so at once.
    private sealed class ShiftedTime : TimeProvider
    {
        private long _shiftTicks;

        public TimeSpan Shift
        {
            set => Interlocked.Exchange(ref _shiftTicks, value.Ticks);
        }

        public override DateTimeOffset GetUtcNow() => base.GetUtcNow() + TimeSpan.FromTicks(Interlocked.Read(ref _shiftTicks));
    }

    private static Task Connected(RunningEdge edge) => edge.Hub.ConnectedAfterAsync(0, CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(20));

    private static string[] Reminders(RunningEdge edge)
        => [.. edge.Log.All().Split('\n').Where(line => line.Contains("modules.edgeHub.token is empty", StringComparison.Ordinal))];

    private static Message Query(string name) => Message.Create(TimeProvider.System, Sources.Edged, Groups.Meta, Operations.Query, $"default/configmap/{name}");

    // A certificate that is to be renewed at once, by a cloud that waits until the test says so; the next one holds for a year.
    private TaskCompletionSource HoldRenewals()
    {
        var open = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _cloud.Validity = (TimeSpan.FromDays(-95), TimeSpan.FromDays(5));
        _cloud.RenewalsOpen = GoodAfterAsync();
        return open;

        async Task GoodAfterAsync()
        {
            await open.Task;
            _cloud.Validity = (TimeSpan.FromDays(-1), TimeSpan.FromDays(365));
        }
    }

    private static UplinkEntry Status(string name) => new(
        $"podpatch/default/{name}", UplinkPriority.PodStatus, UplinkRule.Newest, Sources.Edged, Groups.Meta, Operations.Patch, $"default/podpatch/{name}", MessageCodec.JsonString("{}"));

    private static string ConfigMap(string name)
        => $$$"""{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"{{{name}}}","namespace":"default","uid":"uid-{{{name}}}","resourceVersion":"7"},"data":{"k":"v"}}""";

    private string Serial()
    {
        using var certificate = X509CertificateLoader.LoadCertificateFromFile(_directory.File("certs/server.crt"));
        return certificate.SerialNumber;
    }

    private X509Certificate2Collection Authorities()
    {
        var all = new X509Certificate2Collection();
        all.ImportFromPemFile(_directory.File("ca/rootCA.crt"));
        return all;
    }
}
