using System.Net;
using Edge.Cloud.Router;

namespace Edge.Cloud.Tests.Router;

/// <summary>Where Rules may lead.</summary>
[Trait("Category", "Unit")]
public sealed class TargetAccessTests
{
    [Theory]
    [InlineData("192.0.2.1", true)]
    [InlineData("10.96.0.1", true)]
    [InlineData("2001:db8::1", true)]
    [InlineData("fd00::1", true)]
    [InlineData("127.0.0.1", false)]
    [InlineData("127.9.9.9", false)]
    [InlineData("::1", false)]
    [InlineData("::ffff:127.0.0.1", false)]
    [InlineData("::ffff:169.254.169.254", false)]
    [InlineData("169.254.169.254", false)]
    [InlineData("fe80::1", false)]
    [InlineData("febf::1", false)]
    [InlineData("0.0.0.0", false)]
    [InlineData("0.1.2.3", false)]
    [InlineData("::", false)]
    public void Nothing_of_the_own_machine_and_link_is_a_target(string address, bool isAllowed)
        => Assert.Equal(isAllowed, TargetAccess.Default.Allows("service.default", IPAddress.Parse(address)));

    [Fact]
    public void Setting_allows_hosts_addresses_and_networks_and_no_others()
    {
        Assert.True(TargetAccess.TryParse(["Near.example", "127.1.0.0/16", "169.254.1.1", "::1"], out var access, out _));
        bool Allows(string host, string address) => access.Allows(host, IPAddress.Parse(address));
        Assert.True(Allows("near.EXAMPLE", "127.0.0.1"));
        Assert.True(Allows("a", "127.1.2.3"));
        Assert.True(Allows("a", "::ffff:127.1.2.3"));
        Assert.True(Allows("a", "169.254.1.1"));
        Assert.True(Allows("a", "::1"));
        Assert.False(Allows("a", "127.2.0.1"));
        Assert.False(Allows("a", "169.254.1.2"));
        Assert.False(Allows("far.near.example", "127.0.0.1"));
        Assert.False(TargetAccess.TryParse(["http://x/"], out _, out var error));
        Assert.Contains("'http://x/'", error, StringComparison.Ordinal);
    }
}
