using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using Edge.Cloud.Configuration;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Testing;
using Edge.Transport;

namespace Edge.Cloud.Tests;

/// <summary>The hub on real QUIC sockets; where libmsquic is missing, that this is said and harms nothing.</summary>
[Trait("Category", "Sync")]
public sealed class QuicHubTests : IAsyncLifetime
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private Support.Cloud _cloud = null!;

    public async Task InitializeAsync() => _cloud = await Support.Cloud.StartAsync(change: WithQuic);

    public async Task DisposeAsync() => await _cloud.DisposeAsync();

    [SkippableFact]
    public async Task Without_libmsquic_the_WebSocket_serves_and_alone_it_must_not_be_switched_off()
    {
        Skip.If(QuicSupport.IsAvailable, "a machine without libmsquic");
        Assert.Equal(0, _cloud.Host.QuicPort);
        await using var edge = await _cloud.JoinAsync("edge-1");
        await edge.FlushAsync();
        var error = await Assert.ThrowsAsync<CloudCoreException>(
            () => Support.Cloud.StartAsync(change: options => WithQuic(options) with { WebSocket = options.WebSocket with { IsEnabled = false } }));
        Assert.Contains("install the package libmsquic", error.Message, StringComparison.Ordinal);
        Assert.Contains("modules.cloudHub.websocket.enable", error.Message, StringComparison.Ordinal);
    }

    [SkippableFact]
    public async Task Node_gets_its_objects_and_its_answers()
    {
        Requires.Quic();
        await using var edge = await JoinAsync("edge-1");
        await _cloud.CreateAsync(ResourceKind.ConfigMap, Support.Cloud.Config("app"));
        await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("web", "edge-1", Support.Cloud.UsingConfig("app")));
        var config = await UntilAsync(edge, message => message.Resource == "default/configmap/app");
        var pod = await UntilAsync(edge, message => message is { Operation: Operations.Insert, Resource: "default/pod/web" });
        foreach (var message in new[] { config, pod })
            await edge.SendAsync(message.Response(TimeProvider.System, MessageCodec.Ok), default);
        await edge.SendAsync(Beat(), default);
        await UntilAsync(edge, message => message.Operation == Operations.Keepalive);
        while (!_cloud.Host.Metrics.Render().Contains("edge_cloudhub_acks_total 2", StringComparison.Ordinal))
            await Task.Delay(20);
    }

    [SkippableFact]
    public async Task Certificate_of_another_ca_is_refused()
    {
        Requires.Quic();
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var own = new CertificateRequest("O=system:nodes, CN=system:node:edge-1", key, HashAlgorithmName.SHA256)
            .CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        var error = await Assert.ThrowsAsync<LinkException>(() => ConnectAsync("edge-1", own));
        Assert.Contains("403: the client certificate is not accepted", error.Message, StringComparison.Ordinal);
    }

    [SkippableFact]
    public async Task Node_id_other_than_the_certificates_is_refused()
    {
        Requires.Quic();
        using var certificate = await _cloud.EnrolAsync("edge-1");
        var error = await Assert.ThrowsAsync<LinkException>(() => ConnectAsync("edge-2", certificate));
        Assert.Equal("CloudCore refused the connection with 403: node_id is 'edge-2', the client certificate is that of node 'edge-1'", error.Message);
    }

    [SkippableFact]
    public async Task Edge_that_speaks_another_wire_is_refused()
    {
        Requires.Quic();
        using var certificate = await _cloud.EnrolAsync("edge-1");
        var error = await Assert.ThrowsAsync<LinkException>(() => ConnectAsync("edge-1", certificate, wire: "7"));
        Assert.Contains("400: over QUIC, version 1 of the Edge wire is spoken", error.Message, StringComparison.Ordinal);
    }

    [SkippableFact]
    public async Task Client_without_a_certificate_does_not_get_in()
    {
        Requires.Quic();
        await Assert.ThrowsAnyAsync<Exception>(() => ConnectAsync("edge-1", null));
        await using var edge = await JoinAsync("edge-1"); // and others still do
    }

    [SkippableFact]
    public async Task Second_connection_of_a_node_replaces_the_first_which_is_told()
    {
        Requires.Quic();
        await using var first = await JoinAsync("edge-1");
        await using var second = await JoinAsync("edge-1");
        while (await first.ReceiveAsync(error => Assert.Fail(error), default).AsTask().WaitAsync(s_patience) is not null)
        {
        }

        Assert.Equal("the node connected again", first.ClosedBecause);
        await second.SendAsync(Beat(), default);
        await UntilAsync(second, message => message.Operation == Operations.Keepalive);
    }

    [SkippableFact]
    public async Task Objects_that_the_edge_does_not_take_delay_no_answer_to_a_lease()
    {
        Requires.Quic();
        await using var edge = await JoinAsync("edge-1");
        for (var i = 0; i < 40; i++)
            await _cloud.CreateAsync(ResourceKind.Pod, Big($"web-{i}", i));
        await edge.ReceiveAsync(LinkLane.Objects, error => Assert.Fail(error), default).AsTask().WaitAsync(s_patience);
        for (var i = 0; i < 10; i++)
        {
            var question = Message.Create(TimeProvider.System, Sources.Edged, Groups.Meta, Operations.Query, "kube-node-lease/lease/edge-1");
            await edge.SendAsync(question, default);
            Message? answer;
            do
                answer = await edge.ReceiveAsync(LinkLane.Control, error => Assert.Fail(error), default).AsTask().WaitAsync(s_patience);
            while (answer!.ParentId != question.Id);
        }

        var seen = new HashSet<string>();
        while (seen.Count(resource => resource.StartsWith("default/pod/", StringComparison.Ordinal)) < 40)
            seen.Add((await edge.ReceiveAsync(LinkLane.Objects, error => Assert.Fail(error), default).AsTask().WaitAsync(s_patience))!.Resource);
    }

    [SkippableFact]
    public async Task Stopping_cloud_tells_why_it_closes()
    {
        Requires.Quic();
        var cloud = await Support.Cloud.StartAsync(_cloud.Kube, WithQuic);
        var edge = await JoinAsync("edge-1", cloud);
        var reading = Task.Run(async () =>
        {
            while (await edge.ReceiveAsync(error => Assert.Fail(error), default).AsTask().WaitAsync(s_patience) is not null)
            {
            }
        });
        var stopping = cloud.DisposeAsync();
        await reading;
        await edge.DisposeAsync();
        await stopping;
        Assert.Equal("cloudcore is stopping", edge.ClosedBecause);
    }

    [SkippableFact]
    public async Task Peer_that_vanishes_is_disconnected_after_the_keepalive_interval()
    {
        Requires.Quic();
        await using var cloud = await Support.Cloud.StartAsync(_cloud.Kube, options => WithQuic(options) with { Keepalive = TimeSpan.FromMilliseconds(700) });
        await using var edge = await JoinAsync("edge-1", cloud);
        while (await edge.ReceiveAsync(error => Assert.Fail(error), default).AsTask().WaitAsync(s_patience) is not null)
        {
        }

        Assert.Contains("keepaliveInterval", edge.ClosedBecause, StringComparison.Ordinal);
    }

    [SkippableFact]
    public async Task Storm_is_admitted_at_the_configured_rate_and_all_of_it_gets_in()
    {
        Requires.Quic();
        await using var cloud = await Support.Cloud.StartAsync(_cloud.Kube, options => WithQuic(options) with { ConnectionsPerSecond = 10 });
        using var certificate = await cloud.EnrolAsync("edge-1");
        var began = TimeProvider.System.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, 25).Select(async _ =>
        {
            await using var link = await ConnectAsync("edge-1", certificate, cloud: cloud);
        }));
        // Ten are let in at once, the other fifteen at ten a second.
        Assert.True(TimeProvider.System.GetElapsedTime(began).TotalSeconds > 1.2);
    }

    [SkippableFact]
    public async Task Port_in_use_is_an_error_that_names_port_and_key()
    {
        Requires.Quic();
        var port = _cloud.Host.QuicPort;
        var error = await Assert.ThrowsAsync<CloudCoreException>(
            () => Support.Cloud.StartAsync(_cloud.Kube, options => WithQuic(options) with { Quic = new ListenOn(true, "127.0.0.1", port, "modules.cloudHub.quic.port") }));
        Assert.Contains($"port {port}", error.Message, StringComparison.Ordinal);
        Assert.Contains("modules.cloudHub.quic.port", error.Message, StringComparison.Ordinal);
    }

    private static CloudCoreOptions WithQuic(CloudCoreOptions options) => options with { Quic = new ListenOn(true, "127.0.0.1", 0, "modules.cloudHub.quic.port") };

    private async Task<QuicLink> ConnectAsync(string node, X509Certificate2? certificate, string wire = EdgeWire.Version, Support.Cloud? cloud = null)
    {
        if (!(OperatingSystem.IsLinux() || OperatingSystem.IsWindows() || OperatingSystem.IsMacOS()))
            throw new PlatformNotSupportedException();
        var tls = new SslClientAuthenticationOptions
        {
            ClientCertificates = certificate is null ? null : [certificate],
            RemoteCertificateValidationCallback = (_, server, _, errors) => server?.Issuer == "CN=KubeEdge" && !errors.HasFlag(SslPolicyErrors.RemoteCertificateNameMismatch),
        };
        var streams = await QuicStreams.ConnectAsync(
            new DnsEndPoint("127.0.0.1", (cloud ?? _cloud).Host.QuicPort), tls, new QuicHello(node, "project", wire), s_patience, CancellationToken.None).WaitAsync(s_patience);
        return new QuicLink(streams, TimeProvider.System, s_patience);
    }

    private async Task<QuicLink> JoinAsync(string node, Support.Cloud? cloud = null)
    {
        using var certificate = await (cloud ?? _cloud).EnrolAsync(node);
        var link = await ConnectAsync(node, certificate, cloud: cloud);
        if (await _cloud.Kube.TryGetAsync(ResourceKind.Node, null, node, CancellationToken.None) is null)
        {
            var content = System.Text.Encoding.UTF8.GetBytes(Support.Cloud.NodeOf(node).ToJsonString());
            var question = Message.Create(TimeProvider.System, Sources.Edged, Groups.Meta, Operations.Insert, $"null/node/{node}", content);
            await link.SendAsync(question, default);
            Message? answer;
            do
                answer = await link.ReceiveAsync(LinkLane.Control, error => Assert.Fail(error), default).AsTask().WaitAsync(s_patience);
            while (answer!.ParentId != question.Id);
        }

        return link;
    }

    private static async Task<Message> UntilAsync(QuicLink link, Func<Message, bool> matches)
    {
        while (await link.ReceiveAsync(error => Assert.Fail(error), default).AsTask().WaitAsync(s_patience) is { } message)
        {
            if (matches(message))
                return message;
        }

        throw new InvalidOperationException($"the cloud closed the link: {link.ClosedBecause}");
    }

    private static Message Beat() => Message.Create(TimeProvider.System, Sources.WebSocket, Groups.Resource, Operations.Keepalive, "node");

    private static JsonObject Big(string name, int seed)
    {
        var bytes = new byte[150_000];
        new Random(seed).NextBytes(bytes);
        var pod = Support.Cloud.PodOf(name, "edge-1");
        pod["metadata"]!["annotations"] = new JsonObject { ["noise"] = Convert.ToBase64String(bytes) };
        return pod;
    }
}
