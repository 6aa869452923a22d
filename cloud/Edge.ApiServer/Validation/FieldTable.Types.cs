namespace Edge.ApiServer.Validation;

// The types of the core kinds, one a paragraph: NAME field:form ... where a form is
//   s text, i whole number, n number, b truth value, q quantity, x whole number or text, t time, B base64 bytes, * anything, or a type's name;
//   []F a list that a strategic merge patch replaces, [key]F one that it merges by that key, [+]F one that it merges as a set,
//   [key~]F one whose elements keep only the patch's keys ($retainKeys), {}F a map from text;
//   ! after the field's name: required.
internal static partial class FieldTable
{
    /// <summary>apimachinery meta/v1</summary>
    private const string MetaTypes = """
        ObjectMeta name:s generateName:s namespace:s selfLink:s uid:s resourceVersion:s generation:i creationTimestamp:t
          deletionTimestamp:t deletionGracePeriodSeconds:i labels:{}s annotations:{}s ownerReferences:[uid]OwnerReference
          finalizers:[+]s managedFields:[]ManagedFieldsEntry
        OwnerReference apiVersion!:s kind!:s name!:s uid!:s controller:b blockOwnerDeletion:b
        ManagedFieldsEntry manager:s operation:s apiVersion:s time:t fieldsType:s fieldsV1:* subresource:s
        LabelSelector matchLabels:{}s matchExpressions:[]LabelSelectorRequirement
        LabelSelectorRequirement key!:s operator!:s values:[]s
        Condition type!:s status!:s observedGeneration:i lastTransitionTime!:t reason!:s message!:s
        ListMeta selfLink:s resourceVersion:s continue:s remainingItemCount:i
        """;

    /// <summary>core/v1</summary>
    private const string CoreTypes = """
        Namespace metadata:ObjectMeta spec:NamespaceSpec status:NamespaceStatus
        Node metadata:ObjectMeta spec:NodeSpec status:NodeStatus
        Pod metadata:ObjectMeta spec:PodSpec status:PodStatus
        ConfigMap metadata:ObjectMeta immutable:b data:{}s binaryData:{}B
        Secret metadata:ObjectMeta immutable:b data:{}B stringData:{}s type:s
        Service metadata:ObjectMeta spec:ServiceSpec status:ServiceStatus
        Endpoints metadata:ObjectMeta subsets:[]EndpointSubset
        Event metadata!:ObjectMeta involvedObject!:ObjectReference reason:s message:s source:EventSource
          firstTimestamp:t lastTimestamp:t count:i type:s eventTime:t series:EventSeries action:s
          related:ObjectReference reportingComponent:s reportingInstance:s
        ServiceAccount metadata:ObjectMeta secrets:[name]ObjectReference imagePullSecrets:[]LocalObjectReference
          automountServiceAccountToken:b
        NamespaceSpec finalizers:[]s
        NamespaceStatus phase:s conditions:[type]NamespaceCondition
        NodeSpec podCIDR:s podCIDRs:[+]s providerID:s unschedulable:b taints:[]Taint configSource:NodeConfigSource
          externalID:s
        NodeStatus capacity:{}q allocatable:{}q phase:s conditions:[type]NodeCondition addresses:[type]NodeAddress
          daemonEndpoints:NodeDaemonEndpoints nodeInfo:NodeSystemInfo images:[]ContainerImage volumesInUse:[]s
          volumesAttached:[]AttachedVolume config:NodeConfigStatus runtimeHandlers:[]NodeRuntimeHandler
          features:NodeFeatures
        PodSpec volumes:[name~]Volume initContainers:[name]Container containers!:[name]Container
          ephemeralContainers:[name]EphemeralContainer restartPolicy:s terminationGracePeriodSeconds:i
          activeDeadlineSeconds:i dnsPolicy:s nodeSelector:{}s serviceAccountName:s serviceAccount:s
          automountServiceAccountToken:b nodeName:s hostNetwork:b hostPID:b hostIPC:b shareProcessNamespace:b
          securityContext:PodSecurityContext imagePullSecrets:[name]LocalObjectReference hostname:s subdomain:s
          affinity:Affinity schedulerName:s tolerations:[]Toleration hostAliases:[ip]HostAlias priorityClassName:s
          priority:i dnsConfig:PodDNSConfig readinessGates:[]PodReadinessGate runtimeClassName:s enableServiceLinks:b
          preemptionPolicy:s overhead:{}q topologySpreadConstraints:[topologyKey]TopologySpreadConstraint
          setHostnameAsFQDN:b os:PodOS hostUsers:b schedulingGates:[name]PodSchedulingGate
          resourceClaims:[name~]PodResourceClaim resources:ResourceRequirements hostnameOverride:s
        PodStatus observedGeneration:i phase:s conditions:[type]PodCondition message:s reason:s nominatedNodeName:s
          hostIP:s hostIPs:[ip]HostIP podIP:s podIPs:[ip]PodIP startTime:t initContainerStatuses:[]ContainerStatus
          containerStatuses:[]ContainerStatus qosClass:s ephemeralContainerStatuses:[]ContainerStatus resize:s
          resourceClaimStatuses:[name~]PodResourceClaimStatus allocatedResources:{}q resources:ResourceRequirements
        ServiceSpec ports:[port]ServicePort selector:{}s clusterIP:s clusterIPs:[]s type:s externalIPs:[]s
          sessionAffinity:s loadBalancerIP:s loadBalancerSourceRanges:[]s externalName:s externalTrafficPolicy:s
          healthCheckNodePort:i publishNotReadyAddresses:b sessionAffinityConfig:SessionAffinityConfig ipFamilies:[]s
          ipFamilyPolicy:s allocateLoadBalancerNodePorts:b loadBalancerClass:s internalTrafficPolicy:s
          trafficDistribution:s
        ServiceStatus loadBalancer:LoadBalancerStatus conditions:[type]Condition
        EndpointSubset addresses:[]EndpointAddress notReadyAddresses:[]EndpointAddress ports:[]EndpointPort
        ObjectReference kind:s namespace:s name:s uid:s apiVersion:s resourceVersion:s fieldPath:s
        EventSource component:s host:s
        EventSeries count:i lastObservedTime:t
        LocalObjectReference name:s
        NamespaceCondition type!:s status!:s lastTransitionTime:t reason:s message:s
        Taint key!:s value:s effect!:s timeAdded:t
        NodeConfigSource configMap:ConfigMapNodeConfigSource
        NodeCondition type!:s status!:s lastHeartbeatTime:t lastTransitionTime:t reason:s message:s
        NodeAddress type!:s address!:s
        NodeDaemonEndpoints kubeletEndpoint:DaemonEndpoint
        NodeSystemInfo machineID!:s systemUUID!:s bootID!:s kernelVersion!:s osImage!:s containerRuntimeVersion!:s
          kubeletVersion!:s kubeProxyVersion!:s operatingSystem!:s architecture!:s swap:NodeSwapStatus
        ContainerImage names:[]s sizeBytes:i
        AttachedVolume name!:s devicePath!:s
        NodeConfigStatus assigned:NodeConfigSource active:NodeConfigSource lastKnownGood:NodeConfigSource error:s
        NodeRuntimeHandler name:s features:NodeRuntimeHandlerFeatures
        NodeFeatures supplementalGroupsPolicy:b
        Volume name!:s hostPath:HostPathVolumeSource emptyDir:EmptyDirVolumeSource
          gcePersistentDisk:GCEPersistentDiskVolumeSource awsElasticBlockStore:AWSElasticBlockStoreVolumeSource
          gitRepo:GitRepoVolumeSource secret:SecretVolumeSource nfs:NFSVolumeSource iscsi:ISCSIVolumeSource
          glusterfs:GlusterfsVolumeSource persistentVolumeClaim:PersistentVolumeClaimVolumeSource rbd:RBDVolumeSource
          flexVolume:FlexVolumeSource cinder:CinderVolumeSource cephfs:CephFSVolumeSource flocker:FlockerVolumeSource
          downwardAPI:DownwardAPIVolumeSource fc:FCVolumeSource azureFile:AzureFileVolumeSource
          configMap:ConfigMapVolumeSource vsphereVolume:VsphereVirtualDiskVolumeSource quobyte:QuobyteVolumeSource
          azureDisk:AzureDiskVolumeSource photonPersistentDisk:PhotonPersistentDiskVolumeSource
          projected:ProjectedVolumeSource portworxVolume:PortworxVolumeSource scaleIO:ScaleIOVolumeSource
          storageos:StorageOSVolumeSource csi:CSIVolumeSource ephemeral:EphemeralVolumeSource image:ImageVolumeSource
        Container name!:s image:s command:[]s args:[]s workingDir:s ports:[containerPort]ContainerPort
          envFrom:[]EnvFromSource env:[name]EnvVar resources:ResourceRequirements resizePolicy:[]ContainerResizePolicy
          restartPolicy:s restartPolicyRules:[]ContainerRestartRule volumeMounts:[mountPath]VolumeMount
          volumeDevices:[devicePath]VolumeDevice livenessProbe:Probe readinessProbe:Probe startupProbe:Probe
          lifecycle:Lifecycle terminationMessagePath:s terminationMessagePolicy:s imagePullPolicy:s
          securityContext:SecurityContext stdin:b stdinOnce:b tty:b
        EphemeralContainer name!:s image:s command:[]s args:[]s workingDir:s ports:[containerPort]ContainerPort
          envFrom:[]EnvFromSource env:[name]EnvVar resources:ResourceRequirements resizePolicy:[]ContainerResizePolicy
          restartPolicy:s restartPolicyRules:[]ContainerRestartRule volumeMounts:[mountPath]VolumeMount
          volumeDevices:[devicePath]VolumeDevice livenessProbe:Probe readinessProbe:Probe startupProbe:Probe
          lifecycle:Lifecycle terminationMessagePath:s terminationMessagePolicy:s imagePullPolicy:s
          securityContext:SecurityContext stdin:b stdinOnce:b tty:b targetContainerName:s
        PodSecurityContext seLinuxOptions:SELinuxOptions windowsOptions:WindowsSecurityContextOptions runAsUser:i
          runAsGroup:i runAsNonRoot:b supplementalGroups:[]i supplementalGroupsPolicy:s fsGroup:i sysctls:[]Sysctl
          fsGroupChangePolicy:s seccompProfile:SeccompProfile appArmorProfile:AppArmorProfile seLinuxChangePolicy:s
        Affinity nodeAffinity:NodeAffinity podAffinity:PodAffinity podAntiAffinity:PodAntiAffinity
        Toleration key:s operator:s value:s effect:s tolerationSeconds:i
        HostAlias ip!:s hostnames:[]s
        PodDNSConfig nameservers:[]s searches:[]s options:[]PodDNSConfigOption
        PodReadinessGate conditionType!:s
        TopologySpreadConstraint maxSkew!:i topologyKey!:s whenUnsatisfiable!:s labelSelector:LabelSelector minDomains:i
          nodeAffinityPolicy:s nodeTaintsPolicy:s matchLabelKeys:[]s
        PodOS name!:s
        PodSchedulingGate name!:s
        PodResourceClaim name!:s resourceClaimName:s resourceClaimTemplateName:s
        ResourceRequirements limits:{}q requests:{}q claims:[]ResourceClaim
        PodCondition type!:s observedGeneration:i status!:s lastProbeTime:t lastTransitionTime:t reason:s message:s
        HostIP ip!:s
        PodIP ip!:s
        ContainerStatus name!:s state:ContainerState lastState:ContainerState ready!:b restartCount!:i image!:s
          imageID!:s containerID:s started:b allocatedResources:{}q resources:ResourceRequirements
          volumeMounts:[mountPath]VolumeMountStatus user:ContainerUser allocatedResourcesStatus:[name]ResourceStatus
          stopSignal:s
        PodResourceClaimStatus name!:s resourceClaimName:s
        ServicePort name:s protocol:s appProtocol:s port!:i targetPort:x nodePort:i
        SessionAffinityConfig clientIP:ClientIPConfig
        LoadBalancerStatus ingress:[]LoadBalancerIngress
        EndpointAddress ip!:s hostname:s nodeName:s targetRef:ObjectReference
        EndpointPort name:s port!:i protocol:s appProtocol:s
        ConfigMapNodeConfigSource namespace!:s name!:s uid:s resourceVersion:s kubeletConfigKey!:s
        DaemonEndpoint Port!:i
        NodeSwapStatus capacity:i
        NodeRuntimeHandlerFeatures recursiveReadOnlyMounts:b userNamespaces:b
        ContainerPort name:s hostPort:i containerPort!:i protocol:s hostIP:s
        EnvFromSource prefix:s configMapRef:ConfigMapEnvSource secretRef:SecretEnvSource
        EnvVar name!:s value:s valueFrom:EnvVarSource
        ContainerResizePolicy resourceName!:s restartPolicy!:s
        ContainerRestartRule action:s exitCodes:ContainerRestartRuleOnExitCodes
        VolumeMount name!:s readOnly:b recursiveReadOnly:s mountPath!:s subPath:s mountPropagation:s subPathExpr:s
        VolumeDevice name!:s devicePath!:s
        Probe exec:ExecAction httpGet:HTTPGetAction tcpSocket:TCPSocketAction grpc:GRPCAction initialDelaySeconds:i
          timeoutSeconds:i periodSeconds:i successThreshold:i failureThreshold:i terminationGracePeriodSeconds:i
        Lifecycle postStart:LifecycleHandler preStop:LifecycleHandler stopSignal:s
        SecurityContext capabilities:Capabilities privileged:b seLinuxOptions:SELinuxOptions
          windowsOptions:WindowsSecurityContextOptions runAsUser:i runAsGroup:i runAsNonRoot:b readOnlyRootFilesystem:b
          allowPrivilegeEscalation:b procMount:s seccompProfile:SeccompProfile appArmorProfile:AppArmorProfile
        SELinuxOptions user:s role:s type:s level:s
        WindowsSecurityContextOptions gmsaCredentialSpecName:s gmsaCredentialSpec:s runAsUserName:s hostProcess:b
        Sysctl name!:s value!:s
        SeccompProfile type!:s localhostProfile:s
        AppArmorProfile type!:s localhostProfile:s
        NodeAffinity requiredDuringSchedulingIgnoredDuringExecution:NodeSelector
          preferredDuringSchedulingIgnoredDuringExecution:[]PreferredSchedulingTerm
        PodAffinity requiredDuringSchedulingIgnoredDuringExecution:[]PodAffinityTerm
          preferredDuringSchedulingIgnoredDuringExecution:[]WeightedPodAffinityTerm
        PodAntiAffinity requiredDuringSchedulingIgnoredDuringExecution:[]PodAffinityTerm
          preferredDuringSchedulingIgnoredDuringExecution:[]WeightedPodAffinityTerm
        PodDNSConfigOption name:s value:s
        ResourceClaim name!:s request:s
        ContainerState waiting:ContainerStateWaiting running:ContainerStateRunning terminated:ContainerStateTerminated
        VolumeMountStatus name!:s mountPath!:s readOnly:b recursiveReadOnly:s
        ContainerUser linux:LinuxContainerUser
        ResourceStatus name!:s resources:[]ResourceHealth
        ClientIPConfig timeoutSeconds:i
        LoadBalancerIngress ip:s hostname:s ipMode:s ports:[]PortStatus
        ConfigMapEnvSource name:s optional:b
        SecretEnvSource name:s optional:b
        EnvVarSource fieldRef:ObjectFieldSelector resourceFieldRef:ResourceFieldSelector
          configMapKeyRef:ConfigMapKeySelector secretKeyRef:SecretKeySelector fileKeyRef:FileKeySelector
        ContainerRestartRuleOnExitCodes operator:s values:[]i
        ExecAction command:[]s
        HTTPGetAction path:s port!:x host:s scheme:s httpHeaders:[]HTTPHeader protocol:s
        TCPSocketAction port!:x host:s
        GRPCAction port!:i service:s mode:s
        LifecycleHandler exec:ExecAction httpGet:HTTPGetAction tcpSocket:TCPSocketAction sleep:SleepAction
        Capabilities add:[]s drop:[]s
        NodeSelector nodeSelectorTerms!:[]NodeSelectorTerm
        PreferredSchedulingTerm weight!:i preference!:NodeSelectorTerm
        PodAffinityTerm labelSelector:LabelSelector namespaces:[]s topologyKey!:s namespaceSelector:LabelSelector
          matchLabelKeys:[]s mismatchLabelKeys:[]s
        WeightedPodAffinityTerm weight!:i podAffinityTerm!:PodAffinityTerm
        ContainerStateWaiting reason:s message:s
        ContainerStateRunning startedAt:t
        ContainerStateTerminated exitCode!:i signal:i reason:s message:s startedAt:t finishedAt:t containerID:s
        LinuxContainerUser uid!:i gid!:i supplementalGroups:[]i
        ResourceHealth resourceID!:s health:s message:s
        PortStatus port!:i protocol!:s error:s
        ObjectFieldSelector apiVersion:s fieldPath!:s
        ResourceFieldSelector containerName:s resource!:s divisor:q
        ConfigMapKeySelector name:s key!:s optional:b
        SecretKeySelector name:s key!:s optional:b
        FileKeySelector volumeName!:s path!:s key!:s optional:b
        HTTPHeader name!:s value!:s
        SleepAction seconds!:i
        NodeSelectorTerm matchExpressions:[]NodeSelectorRequirement matchFields:[]NodeSelectorRequirement
        NodeSelectorRequirement key!:s operator!:s values:[]s
        """;

    /// <summary>core/v1: volumes</summary>
    private const string VolumeTypes = """
        HostPathVolumeSource path!:s type:s
        EmptyDirVolumeSource medium:s sizeLimit:q mode:i
        GCEPersistentDiskVolumeSource pdName!:s fsType:s partition:i readOnly:b
        AWSElasticBlockStoreVolumeSource volumeID!:s fsType:s partition:i readOnly:b
        GitRepoVolumeSource repository!:s revision:s directory:s
        SecretVolumeSource secretName:s items:[]KeyToPath defaultMode:i optional:b defaultUser:i
        NFSVolumeSource server!:s path!:s readOnly:b
        ISCSIVolumeSource targetPortal!:s iqn!:s lun!:i iscsiInterface:s fsType:s readOnly:b portals:[]s
          chapAuthDiscovery:b chapAuthSession:b secretRef:LocalObjectReference initiatorName:s
        GlusterfsVolumeSource endpoints!:s path!:s readOnly:b
        PersistentVolumeClaimVolumeSource claimName!:s readOnly:b
        RBDVolumeSource monitors!:[]s image!:s fsType:s pool:s user:s keyring:s secretRef:LocalObjectReference
          readOnly:b
        FlexVolumeSource driver!:s fsType:s secretRef:LocalObjectReference readOnly:b options:{}s
        CinderVolumeSource volumeID!:s fsType:s readOnly:b secretRef:LocalObjectReference
        CephFSVolumeSource monitors!:[]s path:s user:s secretFile:s secretRef:LocalObjectReference readOnly:b
        FlockerVolumeSource datasetName:s datasetUUID:s
        DownwardAPIVolumeSource items:[]DownwardAPIVolumeFile defaultMode:i defaultUser:i
        FCVolumeSource targetWWNs:[]s lun:i fsType:s readOnly:b wwids:[]s
        AzureFileVolumeSource secretName!:s shareName!:s readOnly:b
        ConfigMapVolumeSource name:s items:[]KeyToPath defaultMode:i optional:b defaultUser:i
        VsphereVirtualDiskVolumeSource volumePath!:s fsType:s storagePolicyName:s storagePolicyID:s
        QuobyteVolumeSource registry!:s volume!:s readOnly:b user:s group:s tenant:s
        AzureDiskVolumeSource diskName!:s diskURI!:s cachingMode:s fsType:s readOnly:b kind:s
        PhotonPersistentDiskVolumeSource pdID!:s fsType:s
        ProjectedVolumeSource sources:[]VolumeProjection defaultMode:i defaultUser:i
        PortworxVolumeSource volumeID!:s fsType:s readOnly:b
        ScaleIOVolumeSource gateway!:s system!:s secretRef:LocalObjectReference sslEnabled:b protectionDomain:s
          storagePool:s storageMode:s volumeName:s fsType:s readOnly:b
        StorageOSVolumeSource volumeName:s volumeNamespace:s fsType:s readOnly:b secretRef:LocalObjectReference
        CSIVolumeSource driver!:s readOnly:b fsType:s volumeAttributes:{}s nodePublishSecretRef:LocalObjectReference
        EphemeralVolumeSource volumeClaimTemplate:PersistentVolumeClaimTemplate
        ImageVolumeSource reference:s pullPolicy:s
        KeyToPath key!:s path!:s mode:i user:i
        DownwardAPIVolumeFile path!:s fieldRef:ObjectFieldSelector resourceFieldRef:ResourceFieldSelector mode:i user:i
        VolumeProjection secret:SecretProjection downwardAPI:DownwardAPIProjection configMap:ConfigMapProjection
          serviceAccountToken:ServiceAccountTokenProjection clusterTrustBundle:ClusterTrustBundleProjection
          podCertificate:PodCertificateProjection
        PersistentVolumeClaimTemplate metadata:ObjectMeta spec!:PersistentVolumeClaimSpec
        SecretProjection name:s items:[]KeyToPath optional:b
        DownwardAPIProjection items:[]DownwardAPIVolumeFile
        ConfigMapProjection name:s items:[]KeyToPath optional:b
        ServiceAccountTokenProjection audience:s expirationSeconds:i path!:s user:i
        ClusterTrustBundleProjection name:s signerName:s labelSelector:LabelSelector optional:b path!:s user:i
        PodCertificateProjection signerName:s keyType:s maxExpirationSeconds:i credentialBundlePath:s keyPath:s
          certificateChainPath:s userAnnotations:{}s user:i
        PersistentVolumeClaimSpec accessModes:[]s selector:LabelSelector resources:VolumeResourceRequirements
          volumeName:s storageClassName:s volumeMode:s dataSource:TypedLocalObjectReference
          dataSourceRef:TypedObjectReference volumeAttributesClassName:s
        VolumeResourceRequirements limits:{}q requests:{}q
        TypedLocalObjectReference apiGroup:s kind!:s name!:s
        TypedObjectReference apiGroup:s kind!:s name!:s namespace:s
        """;

    /// <summary>coordination.k8s.io/v1</summary>
    private const string CoordinationTypes = """
        Lease metadata:ObjectMeta spec:LeaseSpec
        LeaseSpec holderIdentity:s leaseDurationSeconds:i acquireTime:t renewTime:t leaseTransitions:i strategy:s
          preferredHolder:s
        """;

    /// <summary>discovery.k8s.io/v1. The port is EndpointPort there; a type's name stands for one type in this table.</summary>
    private const string DiscoveryTypes = """
        EndpointSlice metadata:ObjectMeta addressType!:s endpoints!:[]Endpoint ports:[]SlicePort
        Endpoint addresses!:[]s conditions:EndpointConditions hostname:s targetRef:ObjectReference
          deprecatedTopology:{}s nodeName:s zone:s hints:EndpointHints
        EndpointConditions ready:b serving:b terminating:b
        EndpointHints forZones:[]ForZone forNodes:[]ForNode
        ForZone name!:s
        ForNode name!:s
        SlicePort name:s protocol:s port:i appProtocol:s
        """;

    /// <summary>apiextensions.k8s.io/v1</summary>
    private const string ExtensionTypes = """
        CustomResourceDefinition metadata:ObjectMeta spec!:CustomResourceDefinitionSpec
          status:CustomResourceDefinitionStatus
        CustomResourceDefinitionSpec group!:s names!:CustomResourceDefinitionNames scope!:s
          versions!:[]CustomResourceDefinitionVersion conversion:CustomResourceConversion preserveUnknownFields:b
        CustomResourceDefinitionStatus conditions:[]CustomResourceDefinitionCondition
          acceptedNames:CustomResourceDefinitionNames storedVersions:[]s observedGeneration:i
        CustomResourceDefinitionNames plural!:s singular:s shortNames:[]s kind!:s listKind:s categories:[]s
        CustomResourceDefinitionVersion name!:s served!:b storage!:b deprecated:b deprecationWarning:s
          schema:CustomResourceValidation subresources:CustomResourceSubresources
          additionalPrinterColumns:[]CustomResourceColumnDefinition selectableFields:[]SelectableField
        CustomResourceConversion strategy!:s webhook:WebhookConversion
        CustomResourceDefinitionCondition type!:s status!:s lastTransitionTime:t reason:s message:s observedGeneration:i
        CustomResourceValidation openAPIV3Schema:JSONSchemaProps
        CustomResourceSubresources status:* scale:CustomResourceSubresourceScale
        CustomResourceColumnDefinition name!:s type!:s format:s description:s priority:i jsonPath!:s
        SelectableField jsonPath!:s
        WebhookConversion clientConfig:WebhookClientConfig conversionReviewVersions!:[]s
        JSONSchemaProps id:s $schema:s $ref:s description:s type:s format:s title:s default:* maximum:n
          exclusiveMaximum:b minimum:n exclusiveMinimum:b maxLength:i minLength:i pattern:s maxItems:i minItems:i
          uniqueItems:b multipleOf:n enum:[]* maxProperties:i minProperties:i required:[]s items:*
          allOf:[]JSONSchemaProps oneOf:[]JSONSchemaProps anyOf:[]JSONSchemaProps not:JSONSchemaProps
          properties:{}JSONSchemaProps additionalProperties:* patternProperties:{}JSONSchemaProps dependencies:*
          additionalItems:* definitions:{}JSONSchemaProps externalDocs:ExternalDocumentation example:* nullable:b
          x-kubernetes-preserve-unknown-fields:b x-kubernetes-embedded-resource:b x-kubernetes-int-or-string:b
          x-kubernetes-list-map-keys:[]s x-kubernetes-list-type:s x-kubernetes-map-type:s
          x-kubernetes-validations:[rule]ValidationRule
        CustomResourceSubresourceScale specReplicasPath!:s statusReplicasPath!:s labelSelectorPath:s
        WebhookClientConfig url:s service:ServiceReference caBundle:B
        ExternalDocumentation description:s url:s
        ValidationRule rule!:s message:s messageExpression:s reason:s fieldPath:s optionalOldSelf:b
        ServiceReference namespace!:s name!:s path:s port:i
        """;
}
