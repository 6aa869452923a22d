using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Core.Edged;
using Edge.Core.Edged.Spec;
using Edge.Protocol.Cri.V1;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Unit")]
public sealed class PodSpecTests
{
    private static readonly string[] s_resolvConf = ["# by hand", "nameserver 192.0.2.1", "nameserver 192.0.2.2", "search old.example", "search site.example lab.example", "options timeout:1"];
    private static readonly EdgedOptions s_options = new() { ClusterDns = "169.254.30.10", ClusterDomain = "cluster.local", RootDirectory = "/root-of-kubelet" };

    [Theory]
    [InlineData("""{}""", "169.254.30.10 | default.svc.cluster.local svc.cluster.local cluster.local site.example lab.example | ndots:5")]
    [InlineData("""{"hostNetwork":true}""", "host's own")]
    [InlineData("""{"dnsPolicy":"Default"}""", "host's own")]
    [InlineData("""{"hostNetwork":true,"dnsPolicy":"ClusterFirstWithHostNet"}""", "169.254.30.10 | default.svc.cluster.local svc.cluster.local cluster.local site.example lab.example | ndots:5")]
    [InlineData("""{"dnsPolicy":"Default","dnsConfig":{"nameservers":["192.0.2.2","192.0.2.3","192.0.2.4"],"searches":["lab.example","x.example"],"options":[{"name":"timeout","value":"9"},{"name":"rotate"}]}}""",
        "192.0.2.1 192.0.2.2 192.0.2.3 | site.example lab.example x.example | timeout:9 rotate")]
    [InlineData("""{"dnsPolicy":"None","dnsConfig":{"nameservers":["192.0.2.9"]}}""", "192.0.2.9 |  | ")]
    [InlineData("""{"dnsConfig":{"options":[{"name":"ndots","value":"1"}]}}""", "169.254.30.10 | default.svc.cluster.local svc.cluster.local cluster.local site.example lab.example | ndots:1")]
    public void A_dnsPolicy_and_dnsConfig_make_the_resolv_conf(string spec, string expected)
    {
        var dns = PodDns.Of(Pod(spec), s_options, s_resolvConf);
        Assert.Equal(expected, dns is null ? "host's own" : $"{string.Join(' ', dns.Servers)} | {string.Join(' ', dns.Searches)} | {string.Join(' ', dns.Options)}");
    }

    [Theory]
    [InlineData("net.ipv4.tcp_syncookies", """{}""", "", "")]
    [InlineData("net/ipv4/tcp_syncookies", """{}""", "", "")]
    [InlineData("net.core.somaxconn", """{}""", "", "forbidden sysctl: \"net.core.somaxconn\" not allowlisted")]
    [InlineData("net.core.somaxconn", """{}""", "net.core.*", "")]
    [InlineData("kernel.msgmax", """{}""", "kernel.msgmax", "")]
    [InlineData("kernel.msgmax", """{"hostIPC":true}""", "kernel.msgmax", "forbidden sysctl: \"kernel.msgmax\" not allowed with host ipc enabled")]
    [InlineData("net.ipv4.tcp_syncookies", """{"hostNetwork":true}""", "", "forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host net enabled")]
    [InlineData("vm.swappiness", """{}""", "vm.*", "forbidden sysctl: \"vm.swappiness\" not allowlisted")]
    [InlineData("", """{}""", "*", "forbidden sysctl: \"\" not allowlisted")]
    public void Kernel_settings_of_the_machine_are_not_a_pods(string name, string spec, string allowed, string refusal)
    {
        var json = (JsonObject)JsonNode.Parse(spec)!;
        json["securityContext"] = new JsonObject { ["sysctls"] = new JsonArray(new JsonObject { ["name"] = name, ["value"] = "1" }) };
        var found = PodSysctls.Check(Pod(json.ToJsonString()), allowed.Length > 0 ? [allowed] : []);
        Assert.Equal(refusal, found?.Message ?? "");
        Assert.Equal(refusal.Length > 0 ? "SysctlForbidden" : null, found?.Reason);
    }

    [Fact]
    public void In_the_slash_form_of_a_setting_a_dot_is_part_of_a_name()
    {
        Assert.Equal("net.ipv4.conf.eth0/1.forwarding", PodSysctls.Normalize("net/ipv4/conf/eth0.1/forwarding"));
        Assert.Equal("kernel.sem", PodSysctls.Normalize("kernel.sem"));
    }

    [Theory]
    [InlineData("""{}""", "web", "")]
    [InlineData("""{"hostname":"db-0","subdomain":"db"}""", "db-0", "db.default.svc.cluster.local")]
    [InlineData("""{"hostname":"db-0","subdomain":"db","setHostnameAsFQDN":true}""", "db-0.db.default.svc.cluster.local", "db.default.svc.cluster.local")]
    [InlineData("""{"setHostnameAsFQDN":true}""", "web", "")]
    public void A_hostname_is_the_whole_name_only_where_it_is_asked_for(string spec, string name, string domain)
    {
        Assert.Equal(name, PodNames.KernelName(Pod(spec), s_options));
        Assert.Equal(domain, PodNames.Domain(Pod(spec), s_options));
    }

    [Fact]
    public void A_name_that_the_kernel_does_not_take_is_refused_with_its_length()
    {
        var pod = Pod($$"""{"hostname":"{{new string('h', 40)}}","subdomain":"{{new string('s', 20)}}","setHostnameAsFQDN":true}""");
        Assert.Contains("is too long (64 characters is the max, 87 characters requested)", Assert.Throws<PodConfigException>(() => PodNames.KernelName(pod, s_options)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"runAsGroup":5}""", "1000:5")]
    [InlineData("""{"runAsUser":7,"runAsGroup":5}""", "7:5")]
    [InlineData("""{}""", ":")]
    public void A_group_alone_keeps_the_images_user(string context, string expected)
    {
        var pod = Pod($$"""{"securityContext":{{context}}}""");
        var made = PodSecurity.Container(pod, pod.Containers[0], new Image { Uid = new Int64Value { Value = 1000 } }, s_options);
        Assert.Equal(expected, $"{made.RunAsUser?.Value}:{made.RunAsGroup?.Value}");
        made = PodSecurity.Container(pod, pod.Containers[0], new Image { Username = "app" }, s_options);
        Assert.Equal(expected == "1000:5" ? "app" : "", made.RunAsUsername);
    }

    [Fact]
    public void A_local_seccomp_profile_is_below_the_root_and_the_containers_own_wins()
    {
        var pod = Pod("""{"securityContext":{"seccompProfile":{"type":"RuntimeDefault"}}}""", """{"seccompProfile":{"type":"Localhost","localhostProfile":"a/b.json"}}""");
        var made = PodSecurity.Container(pod, pod.Containers[0], new Image(), s_options);
        Assert.Equal("/root-of-kubelet/seccomp/a/b.json", made.Seccomp.LocalhostRef);
        pod = Pod("""{"securityContext":{"seccompProfile":{"type":"RuntimeDefault"}}}""");
        Assert.Equal(SecurityProfile.Types.ProfileType.RuntimeDefault, PodSecurity.Container(pod, pod.Containers[0], new Image(), s_options).Seccomp.ProfileType);
        pod = Pod("{}", """{"seccompProfile":{"type":"Localhost"}}""");
        Assert.Contains("localhostProfile must be set", Assert.Throws<PodConfigException>(() => PodSecurity.Container(pod, pod.Containers[0], new Image(), s_options)).Message, StringComparison.Ordinal);
    }

    private static PodDescription Pod(string spec, string context = "{}")
    {
        var json = (JsonObject)JsonNode.Parse(spec)!;
        json["containers"] = new JsonArray(new JsonObject { ["name"] = "main", ["image"] = "i", ["securityContext"] = JsonNode.Parse(context) });
        var pod = new JsonObject { ["metadata"] = new JsonObject { ["namespace"] = "default", ["name"] = "web", ["uid"] = "u" }, ["spec"] = json };
        Assert.True(PodDescription.TryRead(pod, out var read, out var error), error);
        return read;
    }
}
