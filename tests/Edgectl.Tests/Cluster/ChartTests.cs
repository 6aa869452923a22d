using System.Text.Json.Nodes;
using Edge.Cloud.Configuration;
using Edge.Common.Configuration;
using Edge.Ctl.Cluster;
using Edge.Ctl.Commands;
using Edge.Kubernetes;
using Edge.Local.Processes;

namespace Edge.Ctl.Tests.Cluster;

/// <summary>The chart, the part of Helm's language that it keeps to, and the manifests made of it.</summary>
[Trait("Category", "Kubernetes")]
public sealed class ChartTests
{
    private static readonly string s_manifests = Path.Combine(Executables.SourceTree!, "manifests");

    [Theory]
    [InlineData("a: {{ .Values.text }}", "a: hello")]
    [InlineData("a: {{ .Values.text | quote }}", "a: \"hello\"")]
    [InlineData("a: {{ toJson .Values.list }}", "a: [\"x\",\"y\"]")]
    [InlineData("a: {{- toYaml .Values.map | nindent 2 }}", "a:\n  b: 1\n  c: true")]
    [InlineData("{{- if .Values.no }}\nyes{{- else }}\nno{{- end }}", "\nno")]
    [InlineData("{{- if not .Values.empty }}\nempty{{- end }}", "\nempty")]
    [InlineData("{{- if .Values.map }}{{- if .Values.no }}a{{- else }}b{{- end }}{{- end }}", "b")]
    [InlineData("{{- range .Values.list }}\n- {{ . }}{{- end }}", "\n- x\n- y")]
    [InlineData("{{- range .Values.empty }}\n- {{ . }}{{- end }}.", ".")]
    [InlineData("{{- if .Values.no }}{{ .Values.missing }}{{- end }}.", ".")]
    public void The_language_is_rendered_as_Helm_does(string template, string expected) => Assert.Equal(expected, Render(template));

    [Theory]
    [InlineData("{{ .Values.missing }}", "t: .Values.missing is not a value of the chart")]
    [InlineData("{{ include \"x\" . }}", "t: 'include \"x\" .' is not a value")]
    [InlineData("{{ .Values.text | upper }}", "t: 'upper' is not one of quote, nindent N, sha256sum")]
    [InlineData("{{ .Values.map }}", "t: .Values.map is not a text, number or truth value; say toYaml or toJson")]
    [InlineData("{{- if .Values.text }}", "t: 'if .Values.text' without end")]
    [InlineData("{{- end }}", "t: 'end' without a beginning")]
    [InlineData("{{ .Values.text", "t: '{{' without '}}'")]
    public void What_is_outside_of_the_subset_is_an_error(string template, string expected)
        => Assert.Equal(expected, Assert.Throws<ChartException>(() => Render(template)).Message);

    [Fact]
    public void A_value_that_the_chart_does_not_have_is_refused_and_what_cloudcore_reads_is_open()
    {
        Assert.Contains("no value 'replica'", Assert.Throws<ChartException>(() => Chart.Values("ha", ["replica=2"])).Message, StringComparison.Ordinal);
        Assert.Contains("--profile 'x'", Assert.Throws<ChartException>(() => Chart.Values("x", [])).Message, StringComparison.Ordinal);
        Assert.Contains("must be key.path=value", Assert.Throws<ChartException>(() => Chart.Values("ha", ["replicas"])).Message, StringComparison.Ordinal);
        var values = Chart.Values("single", ["image.repository=r.example/c", "config.modules.router.restTimeout=5", "rbac.secretNamespaces=[a, b]"]);
        Assert.Equal((1, "r.example/c", 5), (values.Number(0, "replicas"), values.Text("image", "repository"), values.Number(0, "config", "modules", "router", "restTimeout")));
        Assert.Equal(["a", "b"], values.Texts("rbac", "secretNamespaces"));
    }

    [Fact]
    public void Init_wants_to_know_what_edges_dial()
    {
        Assert.Contains("--advertise-address IP or --dns-name", Assert.Throws<ChartException>(() => InitCommand.Values([], [], "ha", [])).Message, StringComparison.Ordinal);
        Assert.Contains("'hub' is not an IP address", Assert.Throws<ChartException>(() => InitCommand.Values(["hub"], [], "ha", [])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_namespace_can_be_left_to_helm_and_the_rest_is_the_same()
    {
        var with = Chart.Render(InitCommand.Values(["192.0.2.1"], [], "ha", []));
        var without = Chart.Render(InitCommand.Values(["192.0.2.1"], [], "ha", ["namespace.create=false"]));
        Assert.Equal("Namespace", with[0].Kind());
        Assert.Equal(with.Skip(1).Select(one => one.ToJsonString()), without.Select(one => one.ToJsonString()));
    }

    [Fact]
    public void Namespaces_whose_Secrets_cloudcore_may_read_are_told_to_it_by_the_chart_itself()
    {
        // As Helm has the values: only the chart's own templates see them.
        var values = Chart.Values("ha", ["rbac.secretNamespaces=[shop, iot]"]);
        var container = Chart.Render(values).Single(one => one.Kind() == "Deployment").At("spec", "template").Items("spec", "containers").Single();
        var arguments = container.Texts("args").ToList();
        var sets = arguments.Where((_, i) => i > 0 && arguments[i - 1] == "--set").Where(set => !set.Contains("POD_IP", StringComparison.Ordinal)).ToList();
        Assert.Equal(["shop", "iot"], CloudCoreOptions.Read(ConfigFile.Parse("cloudcore.yaml", "kind: CloudCore\n", sets)).SecretNamespaces);
        Assert.DoesNotContain("secretNamespaces", Chart.Files(Chart.Values("ha", [])).Single(file => file.Name == "04-deployment.yaml").Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("ha")]
    [InlineData("single")]
    [InlineData("kubectl")]
    [InlineData("gslb")]
    public void Every_profile_gives_whole_objects_and_a_config_that_cloudcore_takes(string profile)
    {
        var objects = Chart.Render(InitCommand.Values(["192.0.2.1"], ["hub.example.com"], profile, []));
        var config = ConfigFile.Parse("cloudcore.yaml", objects.Single(one => one.Kind() == "ConfigMap").Text("data", "cloudcore.yaml"), []);
        var options = CloudCoreOptions.Read(config);
        config.ThrowIfInvalid();
        Assert.Equal(["192.0.2.1"], options.AdvertiseAddresses);
        Assert.Equal((false, profile == "gslb", profile == "kubectl"), (options.ApiServer.IsEnabled, options.Gslb.IsEnabled, options.CloudStream.Listen.IsEnabled));
        var pod = objects.Single(one => one.Kind() == "Deployment").At("spec", "template");
        var container = pod.Items("spec", "containers").Single();
        var ports = container.Items("ports").Select(one => one.Text("name")).ToList();
        Assert.Equal(ports.Distinct(), ports);
        // What a Service or a probe names is there.
        foreach (var service in objects.Where(one => one.Kind() == "Service"))
            Assert.All(service.Items("spec", "ports"), one => Assert.Contains(one.Text("targetPort"), ports));
        foreach (var probe in (string[])["startupProbe", "readinessProbe", "livenessProbe"])
            Assert.Contains(container.Text(probe, "httpGet", "port"), ports);
        Assert.All(container.Items("ports"), one => Assert.True(one.Number(0, "containerPort") >= 1024, one.ToJsonString()));
        Assert.True(pod.Flag(false, "spec", "securityContext", "runAsNonRoot") && container.Flag(false, "securityContext", "readOnlyRootFilesystem"));
        Assert.All(objects, one => ClusterKinds.Of(one));
        Assert.All(objects.Where(one => ClusterKinds.Of(one).Namespaced), one => Assert.NotEmpty(one.Namespace()));
        Assert.Equal(profile == "kubectl", objects.Any(one => one.Kind() == "Service" && one.Name() == "cloudcore-stream"));
    }

    [Fact]
    public void The_tunnel_of_stock_edges_is_in_the_Service_once_it_is_on_and_alone()
    {
        var objects = Chart.Render(InitCommand.Values(["192.0.2.1"], [], "ha", ["config.modules.cloudStream.tunnel=true", "config.modules.cloudStream.tunnelPort=20004"]));
        var config = ConfigFile.Parse("cloudcore.yaml", objects.Single(one => one.Kind() == "ConfigMap").Text("data", "cloudcore.yaml"), []);
        var options = CloudCoreOptions.Read(config);
        config.ThrowIfInvalid();
        Assert.Equal((false, true, 20004), (options.CloudStream.Listen.IsEnabled, options.CloudStream.Tunnel.IsEnabled, options.CloudStream.Tunnel.Port));
        var port = objects.Single(one => one.Kind() == "Service" && one.Name() == "cloudcore").Items("spec", "ports").Single(one => one.Text("name") == "tunnel");
        Assert.Equal((10004, "tunnel", 30004), (port.Number(0, "port"), port.Text("targetPort"), port.Number(0, "nodePort")));
        var container = objects.Single(one => one.Kind() == "Deployment").At("spec", "template").Items("spec", "containers").Single();
        Assert.Equal(20004, container.Items("ports").Single(one => one.Text("name") == "tunnel").Number(0, "containerPort"));
        Assert.DoesNotContain(
            Chart.Render(InitCommand.Values(["192.0.2.1"], [], "kubectl", [])).Single(one => one.Kind() == "Service" && one.Name() == "cloudcore").Items("spec", "ports"), one => one.Text("name") == "tunnel");
    }

    [Theory]
    [InlineData("rbac.secretRefreshSeconds=30", 30, "get")]
    [InlineData("rbac.secretRefreshSeconds=0", 0, "get,list,watch")]
    public void Secrets_are_read_by_their_names_unless_all_of_them_are_allowed_to_be_watched(string set, int seconds, string verbs)
    {
        var objects = Chart.Render(InitCommand.Values(["192.0.2.1"], [], "ha", [set]));
        var rule = objects.Single(one => one.Kind() == "ClusterRole" && one.Name() == "cloudcore").Items("rules").Single(rule => rule.Texts("resources").Contains("secrets"));
        Assert.Equal(verbs, string.Join(',', rule.Texts("verbs")));
        var arguments = objects.Single(one => one.Kind() == "Deployment").At("spec", "template").Items("spec", "containers").Single().Texts("args").ToList();
        var sets = arguments.Where((_, i) => i > 0 && arguments[i - 1] == "--set").Where(one => !one.Contains("POD_IP", StringComparison.Ordinal)).ToList();
        Assert.Equal(TimeSpan.FromSeconds(seconds), CloudCoreOptions.Read(ConfigFile.Parse("cloudcore.yaml", "kind: CloudCore\n", sets)).SecretRefresh);
    }

    [Fact]
    public void The_dashboards_token_comes_out_of_a_Secret_and_the_page_is_served_to_who_brings_it()
    {
        var objects = Chart.Render(InitCommand.Values(["192.0.2.1"], [], "ha", ["dashboard.tokenSecret=page"]));
        var rules = objects.Single(one => one.Kind() == "ClusterRole" && one.Name() == "cloudcore").Items("rules").ToList();
        Assert.All(["events", "devicestatuses"], shown => Assert.Contains(rules, rule => rule.Texts("resources").Contains(shown) && rule.Texts("verbs").Contains("watch")));
        var pod = objects.Single(one => one.Kind() == "Deployment").At("spec", "template");
        var container = pod.Items("spec", "containers").Single();
        var file = container.Texts("args").Single(one => one.StartsWith("modules.dashboard.tokenFile=", StringComparison.Ordinal));
        var mount = container.Items("volumeMounts").Single(one => one.Text("name") == "dashboard");
        Assert.Equal("modules.dashboard.tokenFile=" + mount.Text("mountPath") + "/token", file);
        Assert.Equal("page", pod.Items("spec", "volumes").Single(one => one.Text("name") == "dashboard").Text("secret", "secretName"));
        var options = CloudCoreOptions.Read(ConfigFile.Parse("cloudcore.yaml", "kind: CloudCore\ncommonConfig: {monitorServer: {bindAddress: '0.0.0.0:9091'}}\n", [file]));
        Assert.True(options.Dashboard.IsEnabled);
        Assert.DoesNotContain("dashboard", Chart.Files(Chart.Values("ha", [])).Single(one => one.Name == "04-deployment.yaml").Text, StringComparison.Ordinal);
    }

    [Fact]
    public void Narrowed_secrets_leave_no_right_to_all_of_them()
    {
        var objects = Chart.Render(InitCommand.Values(["192.0.2.1"], [], "ha", ["rbac.secretNamespaces=[shop]"]));
        Assert.DoesNotContain(objects.Where(one => one.Kind() == "ClusterRole" && one.Name() == "cloudcore").SelectMany(one => one.Items("rules")), rule => rule.Texts("resources").Contains("secrets"));
        Assert.Equal("shop", objects.Single(one => one.Kind() == "Role" && one.Name() == "cloudcore-secrets").Namespace());
        Assert.Contains("secretNamespaces:\n", objects.Single(one => one.Kind() == "ConfigMap").Text("data", "cloudcore.yaml"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("create authorization.k8s.io/subjectaccessreviews", true)]
    [InlineData("get list watch /endpoints", true)]
    [InlineData("get list watch /namespaces", true)]
    [InlineData("get list watch apiextensions.k8s.io/customresourcedefinitions", true)]
    [InlineData("get list watch apps.kubeedge.io/nodegroups", true)]
    [InlineData("get list watch /nodes", false)]
    [InlineData("get list watch /services", false)]
    [InlineData("get list watch discovery.k8s.io/endpointslices", false)]
    [InlineData("get list watch gslb.edge.io/globalservices", false)]
    public void What_nodes_read_in_their_own_name_is_cloudcores_right_where_it_serves_them(string right, bool isOfTheModule)
    {
        Assert.Equal(!isOfTheModule, IsGranted([]));
        Assert.True(IsGranted(["config.modules.dynamicController.enable=true"]));

        bool IsGranted(string[] settings)
        {
            var words = right.Split(' ');
            var rules = Chart.Render(InitCommand.Values(["192.0.2.1"], [], "ha", settings)).Single(one => one.Kind() == "ClusterRole" && one.Name() == "cloudcore").Items("rules").ToList();
            return words[..^1].All(verb => rules.Any(rule => rule.Texts("apiGroups").Any(group => rule.Texts("resources").Any(resource => $"{group}/{resource}" == words[^1])) && rule.Texts("verbs").Contains(verb)));
        }
    }

    /// <summary>With EDGE_WRITE_MANIFESTS=1 they are written afresh.</summary>
    [Fact]
    public void The_static_manifests_are_the_chart_with_its_own_values()
    {
        var files = Chart.Files(InitCommand.Values(["192.0.2.1"], [], "ha", [])).ToList();
        var directory = Path.Combine(s_manifests, "cloudcore");
        if (Environment.GetEnvironmentVariable("EDGE_WRITE_MANIFESTS") == "1")
            files.ForEach(file => File.WriteAllText(Path.Combine(directory, file.Name), file.Text));
        Assert.Equal(files.Select(file => file.Name).Order(StringComparer.Ordinal), Directory.GetFiles(directory).Select(one => Path.GetFileName(one)!).Order(StringComparer.Ordinal));
        Assert.All(files, file => Assert.Equal(file.Text, File.ReadAllText(Path.Combine(directory, file.Name))));
    }

    [Fact]
    public void The_chart_has_the_definitions_that_cloudcore_has()
    {
        var chart = Path.Combine(s_manifests, "charts/edge/crds");
        Assert.Equal(Directory.GetFiles(Path.Combine(s_manifests, "crds")).Select(Path.GetFileName).Order(), Directory.GetFiles(chart).Select(Path.GetFileName).Order());
        Assert.Equal(Directory.GetFiles(chart).Length, Chart.Crds().Count);
    }

    private static string Render(string template)
        => ChartTemplate.Render("t", template, JsonNode.Parse("""{"text":"hello","list":["x","y"],"map":{"b":1,"c":true},"no":false,"empty":[]}""")!.AsObject());
}
