using System.Text;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Authentication;
using Edge.Protocol.Mqtt.Broker;
using Edge.Protocol.Mqtt.Client;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Tests;

/// <summary>SCRAM-SHA-256 as an authentication method of version 5.0.</summary>
[Trait("Category", "Devices")]
public sealed class MqttScramTests
{
    private const string Nonce = "rOprNGfwEbeRWgbNEkqO";
    private static readonly string s_hash = MqttPassword.HashForScram("pencil", 4096);

    // RFC 7677, 3.
    private static readonly ScramSecret s_rfc = Secret("pencil", Convert.FromBase64String("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096);

    [Fact]
    public void The_exchange_is_that_of_the_rfcs_example()
    {
        var client = new ScramClient("user", "pencil"u8.ToArray(), Nonce);
        var server = new ScramServer(name => name == "user" ? s_rfc : null, _ => [], "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
        Assert.Equal("n,,n=user,r=rOprNGfwEbeRWgbNEkqO", Text(client.First()));
        var first = server.Step(client.First(), out _);
        Assert.Equal("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", Text(first));
        var final = client.Final(first, out _);
        Assert.Equal("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", Text(final));
        var last = server.Step(final, out _);
        Assert.Equal("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", Text(last));
        Assert.True(server.IsDone);
        Assert.True(client.IsServer(last));
        Assert.False(client.IsServer("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl96G4="u8));
        Assert.Null(server.Step(final, out _));
    }

    [Theory]
    [InlineData("", "gs2 header")]
    [InlineData("p=tls-unique,,n=user,r=x", "channel binding")]
    [InlineData("n,a=other,n=user,r=x", "authorization identity")]
    [InlineData("n,,n=,r=x", "no user name")]
    [InlineData("n,,n=us=er,r=x", "no user name")]
    [InlineData("n,,n=user,r=", "no user name or no nonce")]
    [InlineData("n,,m=ext,n=user,r=x", "no user name")]
    [InlineData("garbage", "gs2 header")]
    public void A_bad_first_message_is_refused_with_the_reason(string message, string reason)
    {
        Assert.Null(new ScramServer(_ => s_rfc, _ => [], "s").Step(Encoding.UTF8.GetBytes(message), out var problem));
        Assert.Contains(reason, problem, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("c=biws,r=WRONG,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "not of this exchange")]
    [InlineData("c=eSws,r=NONCE,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "not of this exchange")]
    [InlineData("c=biws,r=NONCE,p=short", "no channel binding, nonce or proof")]
    [InlineData("c=biws,r=NONCE", "no channel binding, nonce or proof")]
    [InlineData("c=biws,r=NONCE,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "wrong")]
    public void A_bad_last_message_is_refused_with_the_reason(string message, string reason)
    {
        var server = new ScramServer(_ => s_rfc, _ => [], "server");
        Assert.NotNull(server.Step("n,,n=user,r=client"u8, out _));
        Assert.Null(server.Step(Encoding.UTF8.GetBytes(message.Replace("NONCE", "clientserver", StringComparison.Ordinal)), out var problem));
        Assert.Contains(reason, problem, StringComparison.Ordinal);
        Assert.False(server.IsDone);
    }

    [Fact]
    public void Nobody_learns_from_the_first_answer_whether_a_user_is_there()
    {
        var invented = new byte[16];
        string First(string nonce) => Text(new ScramServer(_ => null, _ => invented, nonce).Step("n,,n=nobody,r=c"u8, out _)!);
        Assert.Equal(First("s"), First("s"));
        Assert.StartsWith("r=cs,s=AAAAAAAAAAAAAAAAAAAAAA==,i=", First("s"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("r=other,s=AAAA,i=4096")]
    [InlineData("r=rOprNGfwEbeRWgbNEkqO,s=AAAA,i=4096")]
    [InlineData("r=rOprNGfwEbeRWgbNEkqOs,s=AAAA,i=1000000000")]
    [InlineData("r=rOprNGfwEbeRWgbNEkqOs,s=AAAA,i=1")]
    [InlineData("r=rOprNGfwEbeRWgbNEkqOs,s=,i=4096")]
    [InlineData("")]
    public void A_client_takes_no_server_that_would_weaken_or_stall_it(string first)
        => Assert.Null(new ScramClient("user", "pencil"u8.ToArray(), Nonce).Final(Encoding.UTF8.GetBytes(first), out _));

    [Fact]
    public void A_hash_serves_the_exchange_and_plain_passwords()
    {
        Assert.True(MqttPassword.IsHash(s_hash));
        Assert.True(MqttPassword.Verify(s_hash, "pencil"u8));
        Assert.False(MqttPassword.Verify(s_hash, "pencils"u8));
        Assert.False(MqttPassword.IsHash(s_hash[..^8]));
        Assert.False(MqttPassword.IsHash(s_hash.Replace("$4096$", "$100$", StringComparison.Ordinal)));
        Assert.Throws<ArgumentOutOfRangeException>(() => MqttPassword.HashForScram("pencil", 100));
    }

    [Fact]
    public async Task A_client_shows_who_it_is_without_sending_its_password_and_shows_it_again()
    {
        await using var broker = MqttHouse.Start(Options());
        var port = broker.EndPoints[0].Port;
        await using var client = await MqttHouse.Client(To(port, "a=nn,ü", "pencil")).ConnectedAsync();
        await client.SubscribeAsync("users/+", MqttQos.AtLeastOnce);
        await client.Mqtt.ReauthenticateAsync().WaitAsync(MqttHouse.Patience);
        await client.PublishAsync("users/a=nn,ü", "after", MqttQos.AtLeastOnce);
        await client.WaitForAsync(1);
        Assert.Equal(1, broker.ConnectedCount);

        // The same user with the password itself, for clients that know nothing better.
        await using var plain = await MqttHouse.Client(MqttHouse.To(port) with { UserName = "a=nn,ü", Password = "pencil"u8.ToArray() }).ConnectedAsync();
        Assert.True(plain.Mqtt.IsConnected);
    }

    [Theory]
    [InlineData("a=nn,ü", "pen")]
    [InlineData("nobody", "pencil")]
    [InlineData("old", "pencil")]
    public async Task Who_cannot_show_it_is_refused(string user, string password)
    {
        await using var broker = MqttHouse.Start(Options());
        await using var client = MqttHouse.Client(To(broker.EndPoints[0].Port, user, password));
        var reason = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        client.Mqtt.Changed += state => reason.TrySetResult(state.Reason);
        Assert.Contains("the user name or password is wrong", await reason.Task.WaitAsync(MqttHouse.Patience), StringComparison.Ordinal);
        Assert.Equal(0, broker.ConnectedCount);
    }

    [Theory]
    [InlineData("GSSAPI", MqttReasonCode.BadAuthenticationMethod)]
    [InlineData("SCRAM-SHA-256", MqttReasonCode.NotAuthorized)]
    public async Task A_method_that_is_not_done_or_has_no_data_is_refused_with_its_code(string method, MqttReasonCode code)
    {
        await using var broker = MqttHouse.Start(Options());
        using var raw = await RawClient.OpenAsync(broker.EndPoints[0].Port);
        await raw.SendAsync(Connect(new MqttProperties { AuthenticationMethod = method }));
        Assert.Equal(code, MqttDecoder.ConnAck((await raw.ReadAsync()).Body, MqttVersion.V5).Code);
        await raw.ExpectEndAsync();
    }

    [Fact]
    public async Task Nothing_but_AUTH_comes_before_CONNACK()
    {
        await using var broker = MqttHouse.Start(Options());
        using var raw = await RawClient.OpenAsync(broker.EndPoints[0].Port);
        await raw.SendAsync(Connect(new MqttProperties { AuthenticationMethod = Scram.Method, AuthenticationData = "n,,n=old,r=x"u8.ToArray() }));
        Assert.Equal(MqttPacketType.Auth, (await raw.ReadAsync()).Type);
        await raw.SendAsync(MqttEncoder.PingReq.ToArray());
        await raw.ExpectEndAsync();
        Assert.Equal(0, broker.ConnectedCount);
    }

    [Fact]
    public async Task Who_becomes_another_on_the_way_is_disconnected()
    {
        await using var broker = MqttHouse.Start(Options());
        using var raw = await RawClient.OpenAsync(broker.EndPoints[0].Port);
        var scram = new ScramClient("a=nn,ü", "pencil"u8.ToArray(), "n1");
        await raw.SendAsync(Connect(new MqttProperties { AuthenticationMethod = Scram.Method, AuthenticationData = scram.First() }));
        var first = MqttDecoder.Disconnect(MqttPacketType.Auth, (await raw.ReadAsync()).Body, MqttVersion.V5);
        await raw.SendAsync(Auth(MqttReasonCode.ContinueAuthentication, scram.Final(first.Properties.AuthenticationData!.Value.Span, out _)!));
        var ack = MqttDecoder.ConnAck((await raw.ReadAsync()).Body, MqttVersion.V5);
        Assert.Equal((MqttReasonCode.Success, Scram.Method), (ack.Code, ack.Properties.AuthenticationMethod));
        Assert.True(scram.IsServer(ack.Properties.AuthenticationData!.Value.Span));
        await raw.SendAsync(Auth(MqttReasonCode.ReAuthenticate, new ScramClient("other", "pencil"u8.ToArray(), "n2").First()));
        var bye = await raw.ReadAsync();
        Assert.Equal((MqttPacketType.Disconnect, MqttReasonCode.NotAuthorized), (bye.Type, MqttDecoder.Disconnect(bye.Type, bye.Body, MqttVersion.V5).Code));
    }

    private static MqttBrokerOptions Options() => MqttHouse.Options() with
    {
        AllowAnonymous = false,
        Users = [new("a=nn,ü", s_hash), new("other", s_hash), new("old", MqttPassword.Hash("pencil", 1000))],
        Acl = [new("*", "users/%u", MqttAccess.ReadWrite)],
    };

    private static MqttClientOptions To(int port, string user, string password)
        => MqttHouse.To(port) with { UserName = user, Password = Encoding.UTF8.GetBytes(password), IsScram = true };

    private static byte[] Connect(MqttProperties properties)
        => MqttEncoder.Connect(new MqttConnect { Version = MqttVersion.V5, ClientId = "raw", CleanStart = true, Properties = properties });

    private static byte[] Auth(MqttReasonCode code, byte[] data)
        => MqttEncoder.Disconnect(MqttPacketType.Auth, new MqttDisconnect(code, new MqttProperties { AuthenticationMethod = Scram.Method, AuthenticationData = data }), MqttVersion.V5);

    private static ScramSecret Secret(string password, byte[] salt, int iterations)
    {
        var salted = Scram.Salted(Encoding.UTF8.GetBytes(password), salt, iterations);
        return new ScramSecret(iterations, salt, Scram.StoredKey(salted), Scram.ServerKey(salted));
    }

    private static string Text(byte[]? bytes) => Encoding.UTF8.GetString(bytes!);
}
